"""The decoder's layout of the weights against transformers' Qwen2.

Query, key and value weights are stacked, and so are gate and up. The rows of each query and key head are stored such
that the two that rotate together lie side by side, as real and imaginary part of one complex number.
"""

from typing import Any

import torch
from torch import Tensor


def _stacks(config: dict[str, Any]) -> dict[str, list[tuple[str, int, int]]]:
    """For each parameter, the tensors of transformers' Qwen2 that it stacks: name, rows, and heads to interleave."""
    width, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = width // heads
    stacks = {
        "embedding": [("model.embed_tokens.weight", vocabulary, 0)],
        "norm": [("model.norm.weight", width, 0)],
    }
    if not config["tie_word_embeddings"]:
        stacks["head"] = [("lm_head.weight", vocabulary, 0)]
    for i in range(config["num_hidden_layers"]):
        theirs, ours = f"model.layers.{i}", f"layers.{i}"
        for name, kind in (("qkv", "weight"), ("qkv_bias", "bias")):
            stacks[f"{ours}.{name}"] = [
                (f"{theirs}.self_attn.q_proj.{kind}", heads * size, heads),
                (f"{theirs}.self_attn.k_proj.{kind}", kv_heads * size, kv_heads),
                (f"{theirs}.self_attn.v_proj.{kind}", kv_heads * size, 0),
            ]
        stacks[f"{ours}.out"] = [(f"{theirs}.self_attn.o_proj.weight", width, 0)]
        stacks[f"{ours}.gate_up"] = [(f"{theirs}.mlp.{part}_proj.weight", inner, 0) for part in ("gate", "up")]
        stacks[f"{ours}.down"] = [(f"{theirs}.mlp.down_proj.weight", width, 0)]
        stacks[f"{ours}.attention_norm"] = [(f"{theirs}.input_layernorm.weight", width, 0)]
        stacks[f"{ours}.mlp_norm"] = [(f"{theirs}.post_attention_layernorm.weight", width, 0)]
    return stacks


def from_transformers(config: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a `Decoder` by name, from those of transformers' Qwen2 with the same configuration."""
    return {
        ours: torch.cat([_pair(weights[name], heads) for name, _, heads in stack])
        for ours, stack in _stacks(config).items()
    }


def to_transformers(config: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `from_transformers`."""
    weights = {}
    for ours, stack in _stacks(config).items():
        parts = state[ours].split([rows for _, rows, _ in stack])
        for (name, _, heads), part in zip(stack, parts, strict=True):
            weights[name] = _unpair(part, heads).contiguous()
    return weights


def _pair(rows: Tensor, heads: int) -> Tensor:
    """Put row i + size/2 of each head beside its row i; 0 heads: leave as is."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2) if heads else rows


def _unpair(rows: Tensor, heads: int) -> Tensor:
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2) if heads else rows
