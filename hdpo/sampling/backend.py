"""What draws the rollouts, by `train.backend`: the model itself, or vLLM holding a copy of its weights."""

from functools import cache
from importlib.util import find_spec

from torch import nn

from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import Engine, VllmSampler
from hdpo.study.study import Study
from hdpo.system.errors import UserError


def require_backend(study: Study) -> None:
    """Before anything is loaded.

    Raises:
        UserError: the study samples with vLLM, which is not installed.
    """
    if study.train.backend == "vllm" and find_spec("vllm") is None:
        raise UserError(
            "train.backend 'vllm': vLLM is not installed; beside a GPU `pip install vllm`, elsewhere `make test-vllm`"
            " builds an environment with it; or set train.backend: transformers"
        )


def load_sampler(study: Study, model: nn.Module, path: str, eos_token_id: int) -> Sampler | VllmSampler:
    """The study's sampler for a model, whose configuration lies at `path`.

    Raises:
        UserError: vLLM cannot run the model here.
    """
    length = study.train.max_response_tokens
    if study.train.backend == "transformers":
        return Sampler(model, eos_token_id, length)
    config = study.model
    engine = _engine(path, config.dtype, config.max_length, study.hardware.rollout_memory, config.revision)
    return VllmSampler(model, eos_token_id, length, engine)


@cache
def _engine(*arguments) -> Engine:
    """The process's one engine, shared by the samplers of policy and teacher."""
    return Engine(*arguments)
