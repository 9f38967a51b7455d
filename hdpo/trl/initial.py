"""The initial weights, which are the frozen teacher."""

import copy
from typing import Any

from torch import nn
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import GRPOTrainer
from trl.models import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import create_model_from_path

from hdpo.system.errors import UserError
from hdpo.trl.config import HDPOConfig


def load_initial(model: Any, args: HDPOConfig, more: dict[str, Any]) -> nn.Module | None:
    """A copy of the model before training; None where the policy, or the policy without its adapters, serves.

    Args:
        model: the trainer's: a name, a folder or a model.
        more: the trainer's other arguments.

    Raises:
        UserError: a frozen teacher does not go with the other arguments.
    """
    if args.teacher == "drifting":
        return None
    if more.get("peft_config") is not None or hasattr(model, "disable_adapter"):
        if args.use_vllm:
            raise UserError("teacher: frozen, vLLM and adapters do not go together; take the drifting teacher")
        return None
    if is_deepspeed_zero3_enabled():
        raise UserError("teacher: frozen needs whole weights, which ZeRO-3 splits; take the drifting teacher")
    if not isinstance(model, str):
        return copy.deepcopy(model)  # before TRL patches its forward pass
    options = {"trust_remote_code": args.trust_remote_code} | dict(args.model_init_kwargs or {})
    if more.get("quantization_config") is not None:
        options["quantization_config"] = more["quantization_config"]
    if args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        options["device_map"] = None
    return create_model_from_path(model, **options)


def prepare(model: nn.Module, trainer: GRPOTrainer) -> nn.Module:
    """The copy on its device, without gradients and dropout, prepared as TRL prepares its reference model."""
    model.requires_grad_(False).eval()
    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(model, trainer.accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(model, trainer.accelerator)
    return trainer.accelerator.prepare_model(model, evaluation_mode=True)
