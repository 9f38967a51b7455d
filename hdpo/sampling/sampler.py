"""Rollouts by the model itself: each prompt is read once and shared by its G rollouts."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from hdpo.model.kv_cache import MIN_KEYS
from hdpo.model.language_model import LanguageModel
from hdpo.model.masks import additive_mask, causal_mask
from hdpo.model.sequences import Sequences
from hdpo.system import ranks
from hdpo.system.finite import require_finite


@dataclass(frozen=True)
class Rollouts:
    """N = P·G sequences in prompt-major order, with what the sampler knew about each token."""

    sequences: Sequences
    logp: Tensor  # the sampler's own log-prob of each token, [M]
    entropy: Tensor  # of the distribution it drew from, or an unbiased estimate of it, nats, [M]

    def select(self, rows: list[int]) -> "Rollouts":
        """The rollouts of `rows`, in their order."""
        index = self.sequences.token_index(rows)
        return Rollouts(self.sequences.select(rows), self.logp[index], self.entropy[index])

    def __add__(self, other: "Rollouts") -> "Rollouts":
        """These rollouts, then the others."""
        joined = torch.cat([self.logp, other.logp]), torch.cat([self.entropy, other.entropy])
        return Rollouts(self.sequences + other.sequences, *joined)


class Sampler:
    """Samples from a model at a temperature; 0 means greedy."""

    def __init__(
        self, model: LanguageModel, eos_token_id: int, max_response_tokens: int, rows_per_batch: int = 512
    ) -> None:
        self.model = model
        self.eos = eos_token_id
        self.max_tokens = max_response_tokens
        self.rows_per_batch = rows_per_batch  # bounds memory; the distribution does not depend on it

    def sleep(self) -> None:
        """Do nothing: the sampler uses the model's own weights and keeps no cache between calls."""

    @torch.no_grad()
    def sample(
        self, prompts: list[Tensor], group: int, temperature: float, generator: torch.Generator | None = None
    ) -> Rollouts:
        """Draw `group` rollouts of each prompt. Prompts of similar length share a batch; the order is restored.

        Every rank samples its share of each batch, in step with the others and with its part of the same random
        numbers. The rollouts do not depend on the number of ranks, and every rank returns them all.

        Raises:
            NotFinite: a sampled token has no finite log-probability, as happens under NaN weights.
        """
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        size = max(1, self.rows_per_batch // group)
        with ranks.gathered(self.model):
            mine = [
                self._sample_share([prompts[i] for i in order[start : start + size]], group, temperature, generator)
                for start in range(0, len(order), size)
            ]
        batches = [part for batch in zip(*ranks.gather(mine), strict=True) for part in batch]
        if not batches:
            return Rollouts(Sequences([], []), torch.empty(0), torch.empty(0))
        place = torch.tensor(order).argsort()[:, None] * group + torch.arange(group)  # of each rollout among the rows
        tokens, logp, entropy, lengths = (torch.cat(part)[place.flatten()] for part in zip(*batches, strict=True))
        valid = torch.arange(self.max_tokens) < lengths[:, None]
        completions = list(tokens[valid].split(lengths.tolist()))
        repeated = [prompt for prompt in prompts for _ in range(group)]
        logp = logp[valid]
        require_finite("log-probabilities of the sampled tokens", logp)  # of NaN logits, for one
        return Rollouts(Sequences(repeated, completions), logp, entropy[valid])

    @torch.inference_mode()  # saves 7 % of the time beside no_grad; `sample` copies what leaves it
    def _sample_share(
        self, prompts: list[Tensor], group: int, temperature: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens, log-probs and entropies [N, T] and lengths [N] of `group` rollouts of each prompt of the share."""
        device = self.model.device
        mine = list(ranks.share(prompts))
        count = len(mine) * group
        prompts = mine or prompts[:1]  # a rank without a prompt of its own reads one and draws no rollout
        width = max(map(len, prompts))
        capacity = max(MIN_KEYS, width + self.max_tokens)
        ids = torch.zeros(len(prompts), width, dtype=torch.long, device=device)
        blocked = torch.ones(len(prompts), capacity, dtype=torch.bool, device=device)
        for row, prompt in enumerate(prompts):  # padded on the left: all rows append at the same place
            ids[row, width - len(prompt) :] = prompt
            blocked[row, width - len(prompt) : width] = False
        positions = ((~blocked[:, :width]).cumsum(1) - 1).clamp_min(0)
        visible = additive_mask(blocked)[:, None, None]  # [P, 1, 1, capacity]
        itself = torch.eye(width, dtype=torch.bool, device=device)  # for padding: softmax needs one key at least
        mask = (visible[..., :width] + causal_mask(width, device)).masked_fill_(itself, 0)
        mask = pad(mask, (0, max(0, MIN_KEYS - width)), value=-math.inf)
        model, cache = self.model, self.model.new_cache(capacity)
        logits = model.logits(model(ids, mask, positions, cache)[:, -1])  # [P, V]

        prompt_of = torch.arange(len(mine), device=device).repeat_interleave(group)
        cache.take(prompt_of)
        logits, visible, position = logits[prompt_of], visible[prompt_of], positions[prompt_of, -1:]
        active = torch.arange(count, device=device)
        alive = torch.ones(count, dtype=torch.bool, device=device)  # of the rows still in the batch
        rows = ranks.gather_count(count)  # in the batch of each rank
        drawn = []
        for t in range(self.max_tokens):
            log_probs = (logits / temperature if temperature > 0 else logits).log_softmax(-1)
            probs = log_probs.exp()
            token = draw(probs, generator, rows) if temperature > 0 else logits.argmax(-1, keepdim=True)
            drawn.append((active, token, log_probs.gather(-1, token), (probs * log_probs).sum(-1, keepdim=True)))
            alive = alive & (token[:, 0] != self.eos)
            living = ranks.gather_count(int(alive.sum()))
            if sum(living) == 0 or t + 1 == self.max_tokens:
                break
            if sum(living) <= 0.8 * sum(rows):  # dropping finished rows costs a copy of the cache: do it in bulk
                rows, kept = living, alive.nonzero()[:, 0]
                cache.take(kept)
                active, token, position, visible = active[kept], token[kept], position[kept], visible[kept]
                alive = alive[kept]
            if not len(alive):  # while other ranks go on
                logits = logits[:0]
                continue
            position = position + 1
            visible[..., width + t] = 0  # the token just drawn
            seen = max(MIN_KEYS, width + t + 1)
            logits = model.logits(model(token, visible[..., :seen], position, cache)[:, -1])
        return _collect(drawn, count, self.max_tokens, self.eos)


def _collect(
    drawn: list[tuple[Tensor, Tensor, Tensor, Tensor]], count: int, max_tokens: int, eos: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, log-probs and entropies [N, T] and lengths [N] of N rollouts, on the CPU.

    Args:
        drawn: for each position, the rows still in the batch, [n], and their tokens, log-probs and negative entropies,
            [n, 1]. Tokens that were drawn for a rollout after its end lie beyond its length.
    """
    tokens = torch.full((count, max_tokens), eos)
    logp, entropy = torch.zeros(count, max_tokens), torch.zeros(count, max_tokens)
    rows, *values = (torch.cat(parts).cpu() for parts in zip(*drawn, strict=True))
    places = torch.arange(len(drawn)).repeat_interleave(torch.tensor([len(active) for active, *_ in drawn]))
    for table, value in zip((tokens, logp, entropy), values, strict=True):
        table[rows, places] = value[:, 0]
    before_end = (tokens != eos).cumprod(1).sum(1)
    return tokens, logp, entropy.neg_(), (before_end + 1).clamp_max(max_tokens)


def draw(probs: Tensor, generator: torch.Generator | None = None, rows: list[int] | None = None) -> Tensor:
    """One token per row, [N, 1], from probabilities [N, V], by inversion.

    It is the first token whose cumulated probability exceeds a uniform number. This takes one random number per row,
    where `torch.multinomial` draws V.

    Args:
        rows: how many rows each rank has. Every rank draws the numbers of all ranks and uses its own.
    """
    cumulated, rows = probs.cumsum(-1), rows or [len(probs)]
    uniform = torch.rand(sum(rows), 1, generator=generator, device=probs.device).split(rows)[ranks.rank()]
    return torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True).clamp_(max=probs.shape[-1] - 1)
