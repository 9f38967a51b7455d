"""Key-value caches for transformers models."""

from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from hdpo.model.small.kv_cache import ReservedLayer


class _PreallocatedLayer(DynamicLayer):
    """transformers' layer concatenates, and so copies everything, at every token."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.rooms = ReservedLayer(capacity), ReservedLayer(capacity)

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        keys, values = (
            room.append(new[None]) for room, new in zip(self.rooms, (key_states, value_states), strict=True)
        )
        return keys[0], values[0]

    def get_seq_length(self) -> int:
        return self.rooms[0].length

    def batch_select_indices(self, indices: Tensor) -> None:
        for room in self.rooms:
            room.take(indices)


def new_cache(model: nn.Module, capacity: int | None) -> Cache:
    """Room for `capacity` tokens; None: transformers' own growing cache, through which gradients flow."""
    if capacity is None:
        return DynamicCache(config=model.config)
    return Cache(layers=[_PreallocatedLayer(capacity) for _ in range(model.config.num_hidden_layers)])
