"""Keys and values of the tokens that a model has read.

What is kept is [S, N, H_kv, keys, D/H]: S is 2 where keys and values are stacked, 1 where one of them is kept alone.
"""

import torch
from torch import Tensor

# Attention over fewer keys than this is slower than over this many: PyTorch leaves MKL below 400 products a matrix.
MIN_KEYS = 17


class GrowingLayer:
    """Those of one layer, as part of the graph."""

    def __init__(self) -> None:
        self.kept: Tensor | None = None

    def append(self, new: Tensor) -> Tensor:
        """All so far, [S, N, H_kv, keys, D/H], with the `new`, [S, N, H_kv, L, D/H], as the last."""
        self.kept = new if self.kept is None else torch.cat([self.kept, new], 3)
        return self.kept

    def take(self, rows: Tensor) -> None:
        self.kept = self.kept.index_select(1, rows)


class ReservedLayer:
    """The same in room for `capacity` keys, which is reserved once; zeros follow the first `MIN_KEYS` at the least."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = capacity, 0

    def append(self, new: Tensor) -> Tensor:
        if self.length == 0:
            self.kept = new.new_zeros(*new.shape[:3], self.capacity, new.shape[4])
        self.kept.narrow(3, self.length, new.shape[3]).copy_(new)
        self.length += new.shape[3]
        return self.kept.narrow(3, 0, max(MIN_KEYS, self.length))

    def take(self, rows: Tensor) -> None:
        self.kept = self.kept.index_select(1, rows)


class KVCache:
    """One `ReservedLayer` per layer, or one `GrowingLayer` if the capacity is None."""

    def __init__(self, layers: int, capacity: int | None) -> None:
        self.layers = [GrowingLayer() if capacity is None else ReservedLayer(capacity) for _ in range(layers)]

    def take(self, rows: Tensor) -> None:
        """Keep, repeat or reorder sequences: row i becomes what row `rows[i]` was."""
        for layer in self.layers:
            layer.take(rows)
