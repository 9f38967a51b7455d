"""The small world's model: Qwen2's decoder in plain PyTorch, for float32 on a CPU.

Same folder format and same function as transformers' Qwen2ForCausalLM, which the tests compare it with. At half a
million parameters much of the time goes into starting kernels; this version starts far fewer, and its process need
not import transformers (`make bench` measures both). Every other model, and any model on a GPU, is transformers' own.

What differs from the textbook is layout: query, key and value weights are stacked, so are gate and up; and the rows
of each query and key head are stored so that the pairs which rotate together lie side by side, as real and imaginary
part of one complex number. `load` and `save` convert.
"""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hdpo.files import read_json
from hdpo.onednn import linear

# Attention over fewer keys than this is slower than over this many: PyTorch leaves MKL below 400 products a matrix.
MIN_KEYS = 17

CONFIGS = ("config.json", "generation_config.json")  # kept as they were read


class Decoder(nn.Module):
    """A causal language model over V tokens with width D, H heads of size D/H and H_kv key-value heads."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        width, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.embedding = nn.Parameter(torch.empty(vocabulary, width))
        self.layers = nn.ModuleList(
            Layer(width, inner, heads, kv_heads, config["rms_norm_eps"]) for _ in range(config["num_hidden_layers"])
        )
        self.norm = nn.Parameter(torch.empty(width))
        self.head = None if config["tie_word_embeddings"] else nn.Parameter(torch.empty(vocabulary, width))
        half = torch.arange(0, width // heads, 2).float() / (width // heads)
        angles = (
            torch.arange(config["max_position_embeddings"])[:, None] / config["rope_parameters"]["rope_theta"] ** half
        )
        self.register_buffer("rotation", torch.polar(torch.ones_like(angles), angles), persistent=False)

    @staticmethod
    def reads(folder: Path) -> bool:
        """Whether a folder holds a Qwen2 in the form that this class implements."""
        file = folder / "config.json"
        config = read_json(file) if file.is_file() else {}
        return (
            config.get("model_type") == "qwen2"
            and config.get("hidden_act") == "silu"
            and not config.get("use_sliding_window")
            and config.get("rope_parameters", {}).get("rope_type") == "default"
            and (folder / "model.safetensors").is_file()
        )

    @classmethod
    def load(cls, folder: Path) -> "Decoder":
        """Read config.json and model.safetensors, as `save` and transformers write them."""
        model = cls(read_json(folder / "config.json"))
        model.load_state_dict(_from_transformers(model, load_file(folder / "model.safetensors")))
        model.files = {name: (folder / name).read_bytes() for name in CONFIGS if (folder / name).is_file()}
        return model

    def save_pretrained(self, folder: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """Write what transformers' `from_pretrained` reads; `state_dict`: in place of the model's own."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        weights = to_transformers(self, state_dict or self.state_dict())
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None, cache: "KVCache | None" = None
    ) -> Tensor:
        """Hidden states [N, L, D] of token ids [N, L].

        Args:
            mask: what each token may attend to, additive (0 or −∞), [N, 1, L, keys]; None: causal.
            positions: [N, L]; None: 0 to L−1.
            cache: keys and values of earlier tokens, to which these tokens' are added.
        """
        x = self.embedding[ids]
        rotation = self.rotation[: ids.shape[1]] if positions is None else self.rotation[positions]
        for i, layer in enumerate(self.layers):
            x = layer(x, rotation[..., None, :], mask, None if cache is None else cache.layers[i])
        return rms_norm(x, self.norm, self.config["rms_norm_eps"])

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits [..., V] from hidden states [..., D]."""
        return linear(hidden, self.embedding if self.head is None else self.head)


class Layer(nn.Module):
    """Attention and feed-forward, each behind an RMS norm and added to its input."""

    def __init__(self, width: int, inner: int, heads: int, kv_heads: int, eps: float) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size, self.eps = heads, kv_heads, width // heads, eps
        stacked = (heads + 2 * kv_heads) * self.size
        self.attention_norm = nn.Parameter(torch.empty(width))
        self.qkv = nn.Parameter(torch.empty(stacked, width))
        self.qkv_bias = nn.Parameter(torch.empty(stacked))
        self.out = nn.Parameter(torch.empty(width, heads * self.size))
        self.mlp_norm = nn.Parameter(torch.empty(width))
        self.gate_up = nn.Parameter(torch.empty(2 * inner, width))
        self.down = nn.Parameter(torch.empty(width, inner))

    def forward(
        self, x: Tensor, rotation: Tensor, mask: Tensor | None, cache: "GrowingLayer | ReservedLayer | None"
    ) -> Tensor:
        h = linear(rms_norm(x, self.attention_norm, self.eps), self.qkv, self.qkv_bias)
        pairs = h.view(*x.shape[:2], -1, self.size // 2, 2)  # [N, L, H + 2 H_kv, D/2H, 2]
        rotating, v = pairs.split((self.heads + self.kv_heads, self.kv_heads), 2)
        rotated = torch.view_as_real(torch.view_as_complex(rotating) * rotation)
        q, k = rotated.flatten(-2).split((self.heads, self.kv_heads), 2)
        k, v = k.transpose(1, 2), v.flatten(-2).transpose(1, 2)  # [N, H_kv, L, D/H]
        if cache is not None:
            k, v = cache.append(k, v)
        x = x + linear(attention(q, k, v, mask), self.out)
        h = linear(rms_norm(x, self.mlp_norm, self.eps), self.gate_up)
        return x + linear(swiglu(h), self.down)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q kᵀ / √size + mask) v, [N, L, H · size], from q [N, L, H, size] and k, v [N, H_kv, keys, size].

    The query heads that share a key head are further rows of one product. Written out: at responses of some twenty
    tokens PyTorch's blocked kernel takes 1.5 times as long.
    """
    length, kv_heads = q.shape[1], k.shape[1]
    if mask is None:
        mask = torch.full((length, k.shape[2]), -math.inf).triu(1)
    rows = (
        (q * q.shape[-1] ** -0.5).unflatten(2, (kv_heads, -1)).transpose(1, 2).flatten(2, 3)
    )  # [N, H_kv, L·H/H_kv, size]
    scores = (rows @ k.transpose(-1, -2)).unflatten(2, (length, -1))
    mixed = scores.add_(mask.unsqueeze(-2)).softmax(-1).flatten(2, 3) @ v
    return mixed.unflatten(2, (length, -1)).transpose(1, 2).flatten(2)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + ε) · w along the last dimension."""
    return RMSNorm.apply(x, weight, eps) if torch.is_grad_enabled() else F.rms_norm(x, weight.shape, weight, eps)


def swiglu(stacked: Tensor) -> Tensor:
    """silu(gate) · up of the stacked [..., 2 I] → [..., I]."""
    if torch.is_grad_enabled():
        return SwiGLU.apply(stacked)
    gate, up = stacked.chunk(2, -1)
    return F.silu(gate) * up


class RMSNorm(torch.autograd.Function):
    """`rms_norm` with its gradient in six kernels."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = x.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        product = gradient * normed
        along = (product @ weight / len(weight))[..., None]  # mean of (∂L/∂normed) · normed
        of_x = torch.addcmul(gradient * weight, normed, along, value=-1).mul_(scale)
        return of_x, product.flatten(0, -2).sum(0), None


class SwiGLU(torch.autograd.Function):
    """`swiglu` with its gradient in three kernels."""

    @staticmethod
    def forward(ctx, stacked: Tensor) -> Tensor:
        gate, up = stacked.chunk(2, -1)
        activated = F.silu(gate)
        ctx.save_for_backward(stacked, activated)
        return activated * up

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        stacked, activated = ctx.saved_tensors
        gate, up = stacked.chunk(2, -1)
        result = torch.empty_like(stacked)
        of_gate, of_up = result.chunk(2, -1)
        torch.mul(gradient, activated, out=of_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        return result


class GrowingLayer:
    """Keys and values of one layer, [N, H_kv, keys, D/H] each, as part of the graph."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is not None:
            keys, values = torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)
        self.keys, self.values = keys, values
        return keys, values

    def take(self, rows: Tensor) -> None:
        self.keys, self.values = self.keys[rows], self.values[rows]


class ReservedLayer:
    """The same in room for `capacity` keys, which is reserved once."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        end = self.length + keys.shape[2]
        if self.length == 0:
            batch, heads, _, size = keys.shape
            self.keys = keys.new_zeros(batch, heads, self.capacity, size)
            self.values = torch.zeros_like(self.keys)
        self.keys.narrow(2, self.length, keys.shape[2]).copy_(keys)
        self.values.narrow(2, self.length, keys.shape[2]).copy_(values)
        self.length = end
        seen = max(MIN_KEYS, end)
        return self.keys.narrow(2, 0, seen), self.values.narrow(2, 0, seen)

    def take(self, rows: Tensor) -> None:
        self.keys, self.values = self.keys[rows], self.values[rows]


class KVCache:
    """One `ReservedLayer` per layer, or one `GrowingLayer` if the capacity is None."""

    def __init__(self, layers: int, capacity: int | None) -> None:
        self.layers = [GrowingLayer() if capacity is None else ReservedLayer(capacity) for _ in range(layers)]

    def take(self, rows: Tensor) -> None:
        """Keep, repeat or reorder sequences: row i becomes what row `rows[i]` was."""
        for layer in self.layers:
            layer.take(rows)


def _names(model: Decoder) -> dict[str, tuple[list[str], list[int]]]:
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


def _from_transformers(model: Decoder, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        ours: torch.cat([_pair(weights[name], heads) for name, heads in zip(*stack, strict=True)])
        for ours, stack in _names(model).items()
    }


def to_transformers(model: Decoder, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's weights by name as those that transformers' Qwen2 has."""
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
