"""Any causal language model of transformers, as a `LanguageModel`."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache as TheirCache
from transformers.cache_utils import DynamicCache, DynamicLayer

from hdpo.model.kv_cache import Cache, ReservedLayer
from hdpo.model.language_model import LanguageModel
from hdpo.system.ranks import whole

PREFIX = "causal_lm."  # of this module's parameter names before transformers' own


class TransformersModel(LanguageModel):
    """Wraps a model and its head. The weights are the wrapped model's; nothing is copied."""

    def __init__(self, causal_lm: PreTrainedModel) -> None:
        super().__init__()
        self.causal_lm = causal_lm
        self.config = causal_lm.config.to_dict()
        self.vocabulary = causal_lm.config.get_text_config().vocab_size
        self.packs = causal_lm.config._attn_implementation == "flash_attention_2"
        kinds = causal_lm._no_split_modules or []  # class names of decoder layers
        self.layers = [module for module in causal_lm.modules() if type(module).__name__ in kinds]

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        output = self.causal_lm.base_model(
            input_ids=ids,
            attention_mask=None if mask is None else mask.to(self.causal_lm.dtype),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.causal_lm.get_output_embeddings()(hidden)
        return logits.float()

    def new_cache(self, capacity: int | None) -> Cache:
        config = self.causal_lm.config
        if capacity is None:
            return _GrowingCache(config=config)
        return _ReservedCache(layers=[_ReservedCacheLayer(capacity) for _ in range(config.num_hidden_layers)])

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.causal_lm.named_parameters():
            yield name, whole(parameter.detach())

    def save_pretrained(self, folder: Path, state_dict: dict[str, Tensor] | None = None) -> None:
        if state_dict is not None:
            state_dict = {name.removeprefix(PREFIX): value for name, value in state_dict.items()}
        self.causal_lm.save_pretrained(folder, state_dict=state_dict)


class _GrowingCache(DynamicCache):
    take = DynamicCache.batch_select_indices


class _ReservedCache(TheirCache):
    take = TheirCache.batch_select_indices


class _ReservedCacheLayer(DynamicLayer):
    """Writes in place, where transformers' own layer copies everything at every token."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.rooms = ReservedLayer(capacity), ReservedLayer(capacity)

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        keys, values = (
            room.append(new[None]) for room, new in zip(self.rooms, (key_states, value_states), strict=True)
        )
        return keys[0], values[0]

    def get_seq_length(self) -> int:
        return self.rooms[0].length

    def batch_select_indices(self, indices: Tensor) -> None:
        for room in self.rooms:
            room.take(indices)
