"""Models and tokenizers from a folder or the hub."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from hdpo.model.language_model import LanguageModel
from hdpo.model.small.decoder import Decoder
from hdpo.model.tokenizer import Tokenizer, WordTokenizer
from hdpo.system.errors import UserError, brief
from hdpo.system.files import read_json, verify_files


def load_policy(
    path: str | Path,
    dtype: str = "float32",
    attention: str = "sdpa",
    gradient_checkpointing: bool = False,
    revision: str | None = None,
    implementation: str = "transformers",
) -> LanguageModel:
    """A causal language model from a folder or the hub, from safetensors, without remote code.

    Args:
        gradient_checkpointing: keep only each layer's input for backward, which computes the rest again.
        revision: the hub's commit or tag; None: its newest.
        implementation: `transformers` for any model, on the GPU if there is one; `small` for a Qwen2 folder in float32
            on a CPU.

    Raises:
        UserError: nothing is there, it is no model, it has changed since its provenance was written, flash attention is
            not installed, or `small` cannot do what is asked.
    """
    if attention == "flash_attention_2" and find_spec("flash_attn") is None:
        raise UserError(
            "model.attention flash_attention_2: the package flash-attn is not installed; use sdpa without it"
        )
    _require_folder(path, "config.json")
    if (Path(path) / "provenance.json").is_file():
        verify_files(Path(path) / "provenance.json")
    try:
        if implementation == "small":
            _require_small(Path(path), dtype, gradient_checkpointing)
            return Decoder.load(Path(path))
        return _transformers_model(path, dtype, attention, gradient_checkpointing, revision)
    except UserError:
        raise
    except Exception as error:  # transformers raises many kinds; all mean that this is no usable model
        raise _not_loaded("model", path, error) from error


def _require_small(path: Path, dtype: str, gradient_checkpointing: bool) -> None:
    problem = ""
    if dtype != "float32":
        problem = f"computes in float32, and model.dtype is {dtype}"
    elif gradient_checkpointing:
        problem = "keeps all activations, and train.gradient_checkpointing is true"
    elif not Decoder.reads(path):
        problem = f"reads a Qwen2 folder with one model.safetensors, and {path} is none"
    if problem:
        raise UserError(f"model.implementation small {problem}; set model.implementation: transformers")


def _transformers_model(
    path: str | Path, dtype: str, attention: str, gradient_checkpointing: bool, revision: str | None
) -> LanguageModel:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from hdpo.model.transformers_model import TransformersModel  # here, as importing transformers takes a second

    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(
        str(path),
        dtype=getattr(torch, dtype),
        revision=revision or "main",
        attn_implementation=attention,
        use_safetensors=True,
        trust_remote_code=False,
    )
    if gradient_checkpointing:
        _recompute_layers(model)
    return TransformersModel(model.to("cuda" if torch.cuda.is_available() else "cpu").eval())


def _recompute_layers(model: nn.Module) -> None:
    """Gradient checkpointing. transformers' own works only in training mode, which would turn on dropout."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    def recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError("its layers cannot be recomputed: train.gradient_checkpointing must be false")
    for layer in layers:
        layer.forward = partial(recomputed, layer.forward)


def hub_commit(path: str, revision: str | None = None) -> str | None:
    """The commit of a model that has just been loaded from the hub; None if the cache does not tell."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def load_tokenizer(path: str | Path, revision: str | None = None) -> Tokenizer:
    """The tokenizer saved beside a model.

    Raises:
        UserError: nothing is there, or it has no end-of-sequence token.
    """
    _require_folder(path, "tokenizer.json")
    # AutoTokenizer reads every Qwen2 folder as Qwen's own byte-level tokenizer, whatever the folder says.
    config = Path(path) / "tokenizer_config.json"
    generic = config.is_file() and read_json(config).get("tokenizer_class") == "TokenizersBackend"
    try:
        if generic and not (Path(path) / "chat_template.jinja").is_file():
            tokenizer: Tokenizer = WordTokenizer(Path(path))
        else:
            from transformers import AutoTokenizer, PreTrainedTokenizerFast

            kind: Any = PreTrainedTokenizerFast if generic else AutoTokenizer
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
