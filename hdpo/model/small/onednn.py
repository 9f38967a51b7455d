"""Linear layers through oneDNN on a CPU.

PyTorch sends float32 matrix products on x86 to MKL, which leaves half of an AMD core's vector width unused. oneDNN
multiplies the same float32 numbers about twice as fast there (`make bench` measures it). It computes what `F.linear`
computes; only the order of the roundings differs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

SMALLEST = 2**20  # multiplications; below, starting oneDNN costs more than it saves


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, [..., N], from x [..., K], W [N, K] and b [N]."""
    if AVAILABLE and x.numel() * len(weight) >= SMALLEST and x.dtype == torch.float32 and x.device.type == "cpu":
        return (_Linear.apply if torch.is_grad_enabled() else _product)(x, weight, bias)
    return F.linear(x, weight, bias)


class _Linear(torch.autograd.Function):
    """The three products of a linear layer, one forward and two backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)  # [M, N]
        of_bias = rows.sum(0) if ctx.has_bias else None
        return _product(gradient, weight.t()), _weight_gradient(rows, x.flatten(0, -2)), of_bias


def _weight_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """gradientᵀ x, [N, K], from [M, N] and [M, K]. oneDNN copies its left factor, so the narrower one goes there."""
    if gradient.shape[1] <= x.shape[1]:
        return _product(gradient.t(), x.t())
    return _product(x.t(), gradient.t()).t()


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
