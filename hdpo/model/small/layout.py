"""The decoder's layout of the weights against transformers' Qwen2.

Query, key and value weights are stacked, so are gate and up; and the rows of each query and key head are stored so
that the pairs which rotate together lie side by side, as real and imaginary part of one complex number.
"""

import torch
from torch import Tensor, nn


def _names(model: nn.Module) -> dict[str, tuple[list[str], list[int]]]:
    """For each parameter: the tensors of transformers' Qwen2 that it stacks, and the heads to interleave in each."""
    names: dict[str, tuple[list[str], list[int]]] = {
        "embedding": (["model.embed_tokens.weight"], [0]),
        "norm": (["model.norm.weight"], [0]),
    }
    if model.head is not None:
        names["head"] = (["lm_head.weight"], [0])
    for i, layer in enumerate(model.layers):
        theirs, ours = f"model.layers.{i}", f"layers.{i}"
        for name, kind in (("qkv", "weight"), ("qkv_bias", "bias")):
            stack = [f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv"]
            names[f"{ours}.{name}"] = (stack, [layer.heads, layer.kv_heads, 0])
        names[f"{ours}.out"] = ([f"{theirs}.self_attn.o_proj.weight"], [0])
        names[f"{ours}.gate_up"] = ([f"{theirs}.mlp.{part}_proj.weight" for part in ("gate", "up")], [0, 0])
        names[f"{ours}.down"] = ([f"{theirs}.mlp.down_proj.weight"], [0])
        names[f"{ours}.attention_norm"] = ([f"{theirs}.input_layernorm.weight"], [0])
        names[f"{ours}.mlp_norm"] = ([f"{theirs}.post_attention_layernorm.weight"], [0])
    return names


def from_transformers(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' weights by name as those of `model`, a `Decoder`."""
    return {
        ours: torch.cat([_pair(weights[name], heads) for name, heads in zip(*stack, strict=True)])
        for ours, stack in _names(model).items()
    }


def to_transformers(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights `state` of `model`, a `Decoder`, by name as those that transformers' Qwen2 has."""
    weights = {}
    for ours, (stack, heads) in _names(model).items():
        if len(stack) == 3:
            layer = model.get_submodule(ours.rsplit(".", 1)[0])
            sizes = [count * layer.size for count in (layer.heads, layer.kv_heads, layer.kv_heads)]
        else:
            sizes = [len(state[ours]) // len(stack)] * len(stack)
        for name, part, count in zip(stack, state[ours].split(sizes), heads, strict=True):
            weights[name] = _unpair(part, count).contiguous()
    return weights


def _pair(rows: Tensor, heads: int) -> Tensor:
    """Put row i + size/2 of each head beside its row i; 0 heads: leave as is."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2) if heads else rows


def _unpair(rows: Tensor, heads: int) -> Tensor:
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2) if heads else rows
