"""The small world's model: Qwen2's decoder in plain PyTorch, for float32 on a CPU.

It reads the same folders and computes the same function as transformers' Qwen2ForCausalLM; the tests compare the two.
At half a million parameters much of the time goes into starting kernels. This version starts far fewer, and its
process does not import transformers (`make bench` measures both).

It differs from the textbook in layout. Weights are stacked and their rows reordered (`hdpo.model.small.layout`; `load`
and `save_pretrained` convert). A batch of N sequences of L tokens is one matrix of N·L rows, except in attention.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hdpo.model.kv_cache import Cache, KVCache, LayerCache
from hdpo.model.language_model import LanguageModel
from hdpo.model.masks import causal_mask
from hdpo.model.small.layout import from_transformers, to_transformers
from hdpo.model.small.onednn import linear
from hdpo.system.files import read_json
from hdpo.system.ranks import whole

CONFIGS = ("config.json", "generation_config.json")  # saved as they were read


class Decoder(LanguageModel):
    """V tokens, width D, H heads of size D/H and H_kv key-value heads."""

    layers: nn.ModuleList
    rotation: Tensor
    packs = False

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config, self.vocabulary = config, config["vocab_size"]
        self.files: dict[str, bytes] = {}  # of `CONFIGS`, by name
        width, inner = config["hidden_size"], config["intermediate_size"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.embedding = nn.Parameter(torch.empty(self.vocabulary, width))
        self.layers = nn.ModuleList(
            Layer(width, inner, heads, kv_heads, config["rms_norm_eps"]) for _ in range(config["num_hidden_layers"])
        )
        self.norm = nn.Parameter(torch.empty(width))
        self.head = None if config["tie_word_embeddings"] else nn.Parameter(torch.empty(self.vocabulary, width))
        half = torch.arange(0, width // heads, 2).float() / (width // heads)
        angles = (
            torch.arange(config["max_position_embeddings"])[:, None] / config["rope_parameters"]["rope_theta"] ** half
        )
        angles = angles[:, None] * torch.tensor([1.0] * (heads + kv_heads) + [0.0] * kv_heads)[:, None]  # not values
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
        """Read config.json and model.safetensors, as `save_pretrained` and transformers write them."""
        model = cls(read_json(folder / "config.json"))
        model.load_state_dict(from_transformers(model.config, load_file(folder / "model.safetensors")))
        model.files = {name: (folder / name).read_bytes() for name in CONFIGS if (folder / name).is_file()}
        return model

    def save_pretrained(self, folder: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        weights = to_transformers(self.config, state_dict or self.state_dict())
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        state = {name: whole(parameter.detach()) for name, parameter in self.named_parameters()}
        yield from to_transformers(self.config, state).items()

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        x = self.embedding[ids.flatten()]  # [N·L, D]
        rotation = self.rotation[: ids.shape[1]][None] if positions is None else self.rotation[positions]
        mask = (causal_mask(ids.shape[1], ids.device)[None, None] if mask is None else mask)[..., None, :]
        for i, layer in enumerate(self.layers):
            x = layer(x, rotation, mask, None if cache is None else cache.layers[i])
        return rms_norm(x.view(*ids.shape, -1), self.norm, self.config["rms_norm_eps"])

    def logits(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.embedding if self.head is None else self.head)

    def new_cache(self, capacity: int | None) -> KVCache:
        return KVCache(len(self.layers), capacity)


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

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor, cache: LayerCache | None) -> Tensor:
        """x [N·L, D] → [N·L, D]; rotation [N or 1, L, H + 2 H_kv, D/2H], mask [N, 1, L, 1, keys]."""
        h = linear(rms_norm(x, self.attention_norm, self.eps), self.qkv, self.qkv_bias)
        pairs = h.view(-1, *rotation.shape[1:], 2)  # [N, L, H + 2 H_kv, D/2H, 2]
        rotated = torch.view_as_real(torch.view_as_complex(pairs) * rotation).flatten(-2)
        q, kv = rotated.split((self.heads, 2 * self.kv_heads), 2)
        kv = kv.view(*kv.shape[:2], 2, self.kv_heads, self.size).permute(2, 0, 3, 1, 4)  # [2, N, H_kv, L, D/H]
        if cache is not None:
            kv = cache.append(kv)
        keys, values = kv.unbind()
        x = x + linear(attention(q, keys, values, mask), self.out)
        h = linear(rms_norm(x, self.mlp_norm, self.eps), self.gate_up)
        return x + linear(swiglu(h), self.down)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q kᵀ / √size + mask) v, [N·L, H·size], from q [N, L, H, size] and k, v [N, H_kv, keys, size].

    Query heads that share a key head become rows of one product. The formula is written out because PyTorch's blocked
    kernel takes 1.5 times as long at responses of some twenty tokens.
    """
    count, length, heads, size = q.shape
    _, kv_heads, keys, _ = k.shape
    rows = (q * size**-0.5).view(count, length, kv_heads, -1, size).transpose(1, 2)
    scores = rows.reshape(count, kv_heads, -1, size) @ k.transpose(-1, -2)  # [N, H_kv, L·H/H_kv, keys]
    weights = scores.view(count, kv_heads, length, -1, keys).add_(mask).softmax(-1)
    mixed: Tensor = weights.view(scores.shape) @ v
    return mixed.view(count, kv_heads, length, -1, size).transpose(1, 2).reshape(count * length, heads * size)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + ε) · w along the last dimension."""
    if torch.is_grad_enabled():
        normed: Tensor = RMSNorm.apply(x, weight, eps)
        return normed
    return (x * rms_scale(x, eps)).mul_(weight)


def rms_scale(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean(x²) + ε) along the last dimension, [..., 1]."""
    return x.square().mean(-1, keepdim=True).add_(eps).rsqrt_()


def swiglu(stacked: Tensor) -> Tensor:
    """silu(gate) · up of the stacked [..., 2 I] → [..., I]."""
    if torch.is_grad_enabled():
        activated: Tensor = SwiGLU.apply(stacked)
        return activated
    gate, up = stacked.chunk(2, -1)
    return F.silu(gate) * up


class RMSNorm(torch.autograd.Function):
    """`rms_norm` with its gradient in six kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = rms_scale(x, eps)
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        product = gradient * normed
        along = (product @ weight / len(weight))[..., None]  # mean of (∂L/∂normed) · normed
        of_x = torch.addcmul(gradient * weight, normed, along, value=-1).mul_(scale)
        return of_x, product.flatten(0, -2).sum(0), None


class SwiGLU(torch.autograd.Function):
    """`swiglu` with its gradient in three kernels."""

    @staticmethod
    def forward(ctx: Any, stacked: Tensor) -> Tensor:
        gate, up = stacked.chunk(2, -1)
        activated = F.silu(gate)
        ctx.save_for_backward(stacked, activated)
        return activated * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        stacked, activated = ctx.saved_tensors
        gate, up = stacked.chunk(2, -1)
        result = torch.empty_like(stacked)
        of_gate, of_up = result.chunk(2, -1)
        torch.mul(gradient, activated, out=of_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        return result
