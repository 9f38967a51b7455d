"""The shape of a decoder-only transformer with gated MLP and grouped key-value heads, and what it costs to run."""

import json
from dataclasses import dataclass
from pathlib import Path

from hdpo.study.study import Study
from hdpo.system.errors import UserError


@dataclass(frozen=True)
class Shape:
    """As in a Hugging Face config.json of the Llama or Qwen2 family."""

    vocabulary: int  # V
    hidden: int  # D
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    tied: bool  # the output head is the embedding
    bias: bool  # on queries, keys and values, as in Qwen2

    @property
    def layer_matrix(self) -> int:
        """Parameters of one layer that multiply every token: queries, keys, values, output and the gated MLP."""
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        return self.hidden * (2 * queries + 2 * keys + 3 * self.intermediate)

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        biases = (self.heads + 2 * self.kv_heads) * self.head_width if self.bias else 0
        layer = self.layer_matrix + biases + 2 * self.hidden  # two norms
        return self.layers * layer + self.hidden + self.embedding * (1 if self.tied else 2)

    def trunk_flops(self, context: float) -> float:
        """FLOPs of one token's forward pass without the output head, attending to `context` positions.

        Two per parameter and token, and four per attended position and query channel (scores, weighted values).
        """
        return self.layers * (2 * self.layer_matrix + 4 * self.heads * self.head_width * context)

    @property
    def head_flops(self) -> float:
        """FLOPs of the output head for one position."""
        return 2 * self.embedding

    def kv_bytes(self, bytes_per_value: int) -> int:
        """Bytes that one token occupies in the key-value cache."""
        return 2 * self.layers * self.kv_heads * self.head_width * bytes_per_value


# From the models' config.json on the Hugging Face hub; the tests compare parameter counts with transformers.
QWEN_1_5B = Shape(151936, 1536, 8960, 28, 12, 2, 128, tied=True, bias=True)
KNOWN = {
    "Qwen/Qwen2.5-0.5B-Instruct": Shape(151936, 896, 4864, 24, 14, 2, 64, tied=True, bias=True),
    "Qwen/Qwen2.5-1.5B-Instruct": QWEN_1_5B,
    "Qwen/Qwen2.5-Math-1.5B-Instruct": QWEN_1_5B,
    "Qwen/Qwen2.5-Math-7B-Instruct": Shape(152064, 3584, 18944, 28, 28, 4, 128, tied=False, bias=True),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Shape(49152, 576, 1536, 30, 9, 3, 64, tied=True, bias=False),
    "HuggingFaceTB/SmolLM2-360M-Instruct": Shape(49152, 960, 2560, 32, 15, 5, 64, tied=True, bias=False),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": Shape(49152, 2048, 8192, 24, 32, 32, 64, tied=True, bias=False),
}


def from_config(config: dict) -> Shape:
    """From a parsed config.json.

    Raises:
        KeyError: not a model of this family.
    """
    heads = config["num_attention_heads"]
    return Shape(
        vocabulary=config["vocab_size"],
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        tied=config.get("tie_word_embeddings", False),
        bias=config.get("attention_bias", config["model_type"] == "qwen2"),
    )


def value_bytes(study: Study) -> int:
    """Bytes of one number in the study's dtype."""
    return 2 if study.model.dtype == "bfloat16" else 4


def study_shape(study: Study) -> Shape:
    """The study's model: from its folder, from the config that trains it, from the table, or from the hub's cache.

    Raises:
        UserError: none of these knows the model.
    """
    path = study.base_path
    if study.model.path is None and study.pretrain is not None:
        from hdpo.tasks.countdown import build_tokenizer

        pretrain, vocabulary = study.pretrain, len(build_tokenizer())
        width = pretrain.hidden_size // pretrain.heads
        sizes = (pretrain.hidden_size, pretrain.intermediate_size, pretrain.layers, pretrain.heads, pretrain.kv_heads)
        return Shape(vocabulary, *sizes, width, tied=True, bias=True)
    if path in KNOWN:
        return KNOWN[path]
    file = Path(path) / "config.json"
    if not file.is_file() and not study.base_is_local:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(path, "config.json", revision=study.model.revision)
        file = Path(cached) if isinstance(cached, str) else file
    try:
        return from_config(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        known = f"without one I know {', '.join(sorted(KNOWN))}"
        raise UserError(f"model {path}: no config.json here or in the hub's cache; {known}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: not the config of a Llama- or Qwen2-like model ({error})") from error
