"""Models and studies as plans see them."""

from transformers import LlamaConfig, Qwen2Config

from hdpo.plan.shape import Shape
from hdpo.study.study import Study
from helpers.studies import ROOT

REFERENCE = ROOT / "results/reference/small"
PAPER = "Qwen/Qwen2.5-Math-1.5B-Instruct"


def hf_config(shape: Shape, **changes) -> Qwen2Config | LlamaConfig:
    """The config of transformers for a shape."""
    kind = Qwen2Config if shape.bias else LlamaConfig
    return kind(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        tie_word_embeddings=shape.tied,
        **changes,
    )


def with_hardware(study: Study, **changes) -> Study:
    """The study with other keys of `hardware`."""
    return study.model_copy(update={"hardware": study.hardware.model_copy(update=changes)})
