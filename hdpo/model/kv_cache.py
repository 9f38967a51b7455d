"""Keys and values of the tokens that a model has read.

A layer keeps [S, N, H_kv, keys, D/H]. S is 2 where keys and values are stacked, 1 where either is kept alone.
"""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor

# Attention over fewer keys than this is slower than over this many: PyTorch leaves MKL below 400 products a matrix.
MIN_KEYS = 17


class Cache(Protocol):
    """What a model keeps of the tokens that it has read."""

    layers: list[Any]  # one entry for each decoder layer

    def take(self, rows: Tensor) -> None:
        """Keep, repeat or reorder sequences: row i becomes what row `rows[i]` was."""


class LayerCache(ABC):
    """Keys or values, or both, of one layer."""

    kept: Tensor  # there from the first `append` on

    def __init__(self) -> None:
        self.length = 0  # keys so far

    @abstractmethod
    def append(self, new: Tensor) -> Tensor:
        """Add `new`, [S, N, H_kv, L, D/H], and return all so far, [S, N, H_kv, keys, D/H]."""

    def take(self, rows: Tensor) -> None:
        self.kept = self.kept.index_select(1, rows)


class GrowingLayer(LayerCache):
    """Concatenates, so that gradients flow through it."""

    def append(self, new: Tensor) -> Tensor:
        self.kept = torch.cat([self.kept, new], 3) if self.length else new
        self.length += new.shape[3]
        return self.kept


class ReservedLayer(LayerCache):
    """Writes into room for `capacity` keys, reserved once. `append` returns at least `MIN_KEYS`; the rest are zeros."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def append(self, new: Tensor) -> Tensor:
        if self.length == 0:
            self.kept = new.new_zeros(*new.shape[:3], self.capacity, new.shape[4])
        self.kept.narrow(3, self.length, new.shape[3]).copy_(new)
        self.length += new.shape[3]
        return self.kept.narrow(3, 0, max(MIN_KEYS, self.length))


class KVCache:
    """A `ReservedLayer` for each decoder layer, or a `GrowingLayer` if the capacity is None."""

    def __init__(self, layers: int, capacity: int | None) -> None:
        self.layers = [GrowingLayer() if capacity is None else ReservedLayer(capacity) for _ in range(layers)]

    def take(self, rows: Tensor) -> None:
        """Keep, repeat or reorder sequences: row i becomes what row `rows[i]` was."""
        for layer in self.layers:
            layer.take(rows)
