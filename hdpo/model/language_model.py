"""The one interface to a causal language model.

Two classes implement it: `hdpo.model.small.decoder.Decoder` and, around any causal model of transformers,
`hdpo.model.transformers_model.TransformersModel`. `hdpo.model.loading` picks one by the key `model.implementation`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdpo.model.kv_cache import Cache


class LanguageModel(nn.Module, ABC):
    """A causal language model: token ids to hidden states, and hidden states to logits."""

    config: dict[str, Any]  # the contents of config.json
    vocabulary: int  # V
    packs: bool  # reads sequences joined to one row and keeps them apart by their positions, as flash attention does
    layers: Iterable[nn.Module]  # the decoder layers; each is one unit of sharding

    @abstractmethod
    def forward(
        self, ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Hidden states [N, L, D] of token ids [N, L].

        Args:
            mask: added to the attention scores (0 or −∞), [N, 1, L, keys]; None: causal.
            positions: [N, L]; None: 0 to L−1.
            cache: from `new_cache`. It holds the keys and values of earlier tokens and receives those of `ids`.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits in float32, [..., V], from hidden states [..., D]."""

    @abstractmethod
    def new_cache(self, capacity: int | None) -> Cache:
        """An empty cache with room for `capacity` tokens; None: one that grows and lets gradients flow through."""

    @abstractmethod
    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value of every weight as transformers names and lays it out; a tied weight comes once.

        Sharded weights are gathered one at a time, so every process must read them all.
        """

    @abstractmethod
    def save_pretrained(self, folder: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        """Write what transformers' `from_pretrained` reads.

        Args:
            state_dict: values to write instead of the model's own, under the names of `named_parameters`.
        """

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
