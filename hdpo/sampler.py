"""Rollouts by the transformers model itself: each prompt is read once and shared by its G rollouts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from hdpo.policy import Sequences


@dataclass(frozen=True)
class Rollouts:
    """N = P·G sequences in prompt-major order, with what the sampler knew of each token."""

    sequences: Sequences
    logp: Tensor  # the sampler's own log-prob of each token, [M]
    entropy: Tensor  # entropy of the distribution it drew from, nats, [M]


class _PreallocatedLayer(DynamicLayer):
    """A key-value cache layer that writes into room reserved once, instead of concatenating at every token."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity, self.length = capacity, 0

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        end = self.length + key_states.shape[2]
        if not self.is_initialized:
            batch, heads, _, width = key_states.shape
            self.keys = key_states.new_empty(batch, heads, self.capacity, width)
            self.values = torch.empty_like(self.keys)
            self.is_initialized = True
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length


class TransformersSampler:
    """Samples from a model at a temperature; 0 means greedy."""

    def __init__(self, model: nn.Module, eos_token_id: int, max_response_tokens: int, rows_per_batch: int = 512):
        self.model = model
        self.eos = eos_token_id
        self.max_tokens = max_response_tokens
        self.rows_per_batch = rows_per_batch  # memory, not distribution

    @torch.no_grad()
    def sample(
        self, prompts: list[Tensor], group: int, temperature: float, generator: torch.Generator | None = None
    ) -> Rollouts:
        """`group` rollouts of each prompt. Prompts of similar length share a batch; the order is restored."""
        found: dict[int, tuple[list[Tensor], list[Tensor], list[Tensor]]] = {}
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        size = max(1, self.rows_per_batch // group)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows = self._sample_batch([prompts[i] for i in chosen], group, temperature, generator)
            for j, i in enumerate(chosen):
                found[i] = tuple(part[j * group : (j + 1) * group] for part in rows)
        parts = [[row for i in range(len(prompts)) for row in found[i][part]] for part in range(3)]
        completions, logp, entropy = parts
        repeated = [prompt for prompt in prompts for _ in range(group)]
        empty = [torch.empty(0)]
        return Rollouts(Sequences(repeated, completions), torch.cat(logp or empty), torch.cat(entropy or empty))

    def _sample_batch(self, prompts: list[Tensor], group: int, temperature: float, generator):
        device = self.model.device
        width, count = max(len(prompt) for prompt in prompts), len(prompts) * group
        capacity = width + self.max_tokens
        ids = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        visible = torch.zeros(len(prompts), capacity, dtype=torch.bool, device=device)
        visible[:, width:] = True
        for row, prompt in enumerate(prompts):  # padded on the left: all rows append at the same place
            ids[row, width - len(prompt) :] = prompt
            visible[row, width - len(prompt) : width] = True
        positions = (visible[:, :width].cumsum(1) - 1).clamp_min(0)
        cache = Cache(layers=[_PreallocatedLayer(capacity) for _ in range(self.model.config.num_hidden_layers)])
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        # A padding row may see itself, or its softmax would be over nothing.
        mask = (visible[:, None, :width] & causal) | torch.eye(width, dtype=torch.bool, device=device)
        logits = self._forward(ids, mask[:, None], positions, cache)  # [P, V]

        cache.batch_repeat_interleave(group)
        logits = logits.repeat_interleave(group, 0)  # [N, V]
        visible = visible.repeat_interleave(group, 0)
        position = positions[:, -1:].repeat_interleave(group, 0)
        active = torch.arange(count, device=device)
        tokens = torch.full((count, self.max_tokens), self.eos, device=device)
        logp = torch.zeros(count, self.max_tokens, device=device)
        entropy = torch.zeros(count, self.max_tokens, device=device)
        lengths = torch.full((count,), self.max_tokens, device=device)
        alive = torch.ones(count, dtype=torch.bool, device=device)  # of the rows still in the batch
        for t in range(self.max_tokens):
            log_probs = (logits / temperature if temperature > 0 else logits).log_softmax(-1)
            probs = log_probs.exp()
            if temperature > 0:
                token = torch.multinomial(probs, 1, generator=generator)
            else:
                token = logits.argmax(-1, keepdim=True)
            tokens[active, t] = torch.where(alive, token[:, 0], self.eos)
            logp[active, t] = log_probs.gather(-1, token)[:, 0]
            entropy[active, t] = -(probs * log_probs).sum(-1)
            ended = alive & (token[:, 0] == self.eos)
            lengths[active[ended]] = t + 1
            alive = alive & ~ended
            living = int(alive.sum())
            if living == 0 or t + 1 == self.max_tokens:
                break
            if living <= 0.8 * len(alive):  # dropping finished rows costs a copy of the cache: do it in bulk
                kept = alive.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                active, token, position, visible = active[kept], token[kept], position[kept], visible[kept]
                alive = alive[kept]
            position = position + 1
            logits = self._forward(token, visible[:, None, None, : width + t + 1], position, cache)
        ends = lengths.tolist()
        return tuple([row[:end].cpu() for row, end in zip(part, ends, strict=True)] for part in (tokens, logp, entropy))

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()
