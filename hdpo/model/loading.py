"""Models and tokenizers from a folder or the hub, and a model's weights as transformers lays them out."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hdpo.model.small.decoder import Decoder
from hdpo.model.small.layout import to_transformers
from hdpo.model.tokenizer import WordTokenizer
from hdpo.system.errors import UserError, brief
from hdpo.system.files import read_json, verify_files
from hdpo.system.ranks import whole


def load_policy(
    path: str | Path,
    dtype: str = "float32",
    attention: str = "sdpa",
    gradient_checkpointing: bool = False,
    revision: str | None = None,
) -> nn.Module:
    """A Hugging Face causal LM from a folder or the hub (there at `revision`), from safetensors, no remote code.

    A Qwen2 folder in float32 on a CPU becomes a `Decoder`, anything else transformers' own model, as does a model with
    gradient checkpointing: its layers' inputs alone are kept for backward, which computes the rest again.

    Raises:
        UserError: nothing there, not a model, or changed since its provenance was written; no flash attention here.
    """
    if attention == "flash_attention_2" and find_spec("flash_attn") is None:
        raise UserError(
            "model.attention flash_attention_2: the package flash-attn is not installed; use sdpa without it"
        )
    _require_folder(path, "config.json")
    if (Path(path) / "provenance.json").is_file():
        verify_files(Path(path) / "provenance.json")
    on_gpu = torch.cuda.is_available()
    try:
        if not on_gpu and dtype == "float32" and not gradient_checkpointing and Decoder.reads(Path(path)):
            return Decoder.load(Path(path))
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        model = AutoModelForCausalLM.from_pretrained(
            str(path),
            dtype=getattr(torch, dtype),
            revision=revision or "main",
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
        )
        if gradient_checkpointing:
            _recompute_layers(model)
    except Exception as error:  # transformers raises many kinds; all mean that this is no usable model
        raise _not_loaded("model", path, error) from error
    return model.to("cuda" if on_gpu else "cpu").eval()


def _recompute_layers(model: nn.Module) -> None:
    """Gradient checkpointing; transformers' own works in training mode only, in which dropout would set in."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    def recomputed(forward: Callable, *args, **kwargs):
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError("its layers cannot be recomputed: train.gradient_checkpointing must be false")
    for layer in layers:
        layer.forward = partial(recomputed, layer.forward)


def whole_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every weight, as transformers names and lays them out; a tied one once.

    Weights that are sharded over processes are gathered, one at a time: then every process must read them all.
    """
    weights = ((name, whole(parameter.detach())) for name, parameter in model.named_parameters())
    yield from to_transformers(model, dict(weights)).items() if isinstance(model, Decoder) else weights


def hub_commit(path: str, revision: str | None = None) -> str | None:
    """The commit of a model of the hub that has just been loaded from there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def load_tokenizer(path: str | Path, revision: str | None = None):
    """The tokenizer saved beside a model.

    Raises:
        UserError: nothing there, or no end-of-sequence token.
    """
    _require_folder(path, "tokenizer.json")
    # AutoTokenizer reads every Qwen2 folder as Qwen's own byte-level tokenizer, whatever the folder says.
    config = Path(path) / "tokenizer_config.json"
    generic = config.is_file() and read_json(config).get("tokenizer_class") == "TokenizersBackend"
    try:
        if generic and not (Path(path) / "chat_template.jinja").is_file():
            tokenizer = WordTokenizer(Path(path))
        else:
            from transformers import AutoTokenizer, PreTrainedTokenizerFast

            kind = PreTrainedTokenizerFast if generic else AutoTokenizer
            tokenizer = kind.from_pretrained(str(path), revision=revision or "main", trust_remote_code=False)
    except Exception as error:
        raise _not_loaded("tokenizer", path, error) from error
    if tokenizer.eos_token_id is None:
        raise UserError(f"tokenizer {path}: has no end-of-sequence token, so no response could ever end")
    return tokenizer


def _not_loaded(what: str, path: str | Path, error: Exception) -> UserError:
    way_out = "" if Path(path).exists() else "; give a downloaded folder if there is no network"
    return UserError(f"{what} {path}: cannot be loaded ({brief(error)}){way_out}")


def _require_folder(path: str | Path, file: str) -> None:
    looks_local = str(path).startswith((".", "/", "results")) or Path(path).exists()
    if looks_local and not (Path(path) / file).is_file():
        raise UserError(f"model {path}: no {file} there; build it with `snakemake base` or set model.path")
