"""Attention masks that are added to the scores: 0 where a token may attend, −∞ where it may not."""

import math

import torch
from torch import Tensor


def additive_mask(blocked: Tensor) -> Tensor:
    """The float32 mask of the shape and on the device of `blocked`, which is true where attention is not allowed."""
    return torch.zeros(blocked.shape, device=blocked.device).masked_fill_(blocked, -math.inf)


def causal_mask(length: int, device: torch.device) -> Tensor:
    """Each token attends to itself and to earlier ones, [L, L]."""
    return torch.full((length, length), -math.inf, device=device).triu_(1)
