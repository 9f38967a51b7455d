"""The policy: a causal language model, and the one place that shifts and masks.

A batch is a list of prompts and a list of completions. Rows are padded on the right only, or joined to one, so causal
attention needs no padding mask, and every result comes back flattened to the M completion tokens, without padding.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from hdpo.model.small.decoder import Decoder
from hdpo.model.small.kv_cache import KVCache
from hdpo.system.ranks import is_sharded

LOGITS_CHUNK = 2**27  # logits that exist at a time: 883 tokens of a vocabulary of 151,936, every batch of a small one


@dataclass(frozen=True)
class Sequences:
    """N prompts and their completions as 1-D token-id tensors; completions include the end token if there is one."""

    prompts: list[Tensor]
    completions: list[Tensor]

    def __len__(self) -> int:
        return len(self.completions)

    @cached_property
    def lengths(self) -> Tensor:
        """Completion tokens of each sequence, [N]."""
        return torch.tensor([len(completion) for completion in self.completions], dtype=torch.long)

    @property
    def tokens(self) -> Tensor:
        """All completion tokens in order, [M]."""
        return torch.cat(self.completions) if self.completions else torch.empty(0, dtype=torch.long)

    def select(self, rows: list[int]) -> "Sequences":
        return Sequences([self.prompts[i] for i in rows], [self.completions[i] for i in rows])

    def token_index(self, rows: list[int]) -> Tensor:
        """Where the tokens of `rows` stand among all M tokens, in the order of `rows`."""
        starts = self.lengths.cumsum(0) - self.lengths
        return spans(starts[rows], self.lengths[rows])

    def distinct(self, rows: list[int]) -> dict[int, list[int]]:
        """Of `rows`, those with the same prompt and completion, under the first of them."""
        first: dict[tuple, int] = {}
        equal: dict[int, list[int]] = {}
        for i in rows:
            key = tuple(self.prompts[i].tolist()), tuple(self.completions[i].tolist())
            equal.setdefault(first.setdefault(key, i), []).append(i)
        return equal

    def distinct_prompts(self) -> tuple[list[Tensor], Tensor]:
        """The U different prompts, and which of them each sequence has, [N]."""
        keys = [tuple(prompt.tolist()) for prompt in self.prompts]
        index = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return [torch.tensor(key) for key in index], torch.tensor([index[key] for key in keys])

    def micro_batches(self, rows: list[int], max_tokens: int, share_prompts: bool = False) -> Iterator[list[int]]:
        """Split `rows` into groups of similar length with at most `max_tokens` padded tokens each (or one row).

        With `share_prompts`, as in `completion_logits`, tokens of completions alone are counted.
        """
        completions = self.lengths.tolist()
        size = {i: completions[i] + (0 if share_prompts else len(self.prompts[i])) for i in rows}
        group: list[int] = []
        for i in sorted(rows, key=lambda row: (-size[row], row)):
            if group and size[group[0]] * (len(group) + 1) > max_tokens:
                yield group
                group = []
            group.append(i)
        if group:
            yield group


def spans(starts: Tensor, lengths: Tensor) -> Tensor:
    """start, start + 1, …, start + length − 1 for each start and length [N] in turn, [M]."""
    before = lengths.cumsum(0) - lengths  # in the result
    return torch.arange(int(lengths.sum())) + (starts - before).repeat_interleave(lengths)


def completion_logits(model: nn.Module, batch: Sequences, share_prompts: bool = False) -> Tensor:
    """Logits that predict each completion token, [M, V], where they are small enough to exist whole."""
    return head(model, completion_hidden(model, batch, share_prompts))


def completion_hidden(model: nn.Module, batch: Sequences, share_prompts: bool = False) -> Tensor:
    """Hidden states that predict each completion token, [M, D]: position p−1+t of a row predicts its token t.

    With `share_prompts` the model reads each different prompt once, and every completion attends to it, forward and
    backward: the same function, less work where G rollouts share a prompt. Not under gradient checkpointing, which
    would fill the cache twice, nor under flash attention, which takes no such mask.

    Raises:
        ValueError: an empty prompt, which leaves the first completion token without a prediction.
    """
    for row, prompt in enumerate(batch.prompts):
        if len(prompt) == 0:
            raise ValueError(f"sequence {row}: empty prompt")
    return _shared_prompt_hidden(model, batch) if share_prompts else _hidden(model, batch)


def packs(model: nn.Module) -> bool:
    """Whether sequences are joined to one row without padding: flash attention keeps them apart by their positions.

    SDPA would compute the whole square of the joined row, so it gets padded rows of similar length.
    """
    return not isinstance(model, Decoder) and model.config._attn_implementation == "flash_attention_2"


def _hidden(model: nn.Module, batch: Sequences) -> Tensor:
    inputs = [torch.cat([p, c[:-1]]) for p, c in zip(batch.prompts, batch.completions, strict=True)]  # all but the last
    lengths = torch.tensor([len(row) for row in inputs])
    if packs(model):
        ids = torch.cat(inputs)[None]
        starts = lengths.cumsum(0) - lengths
        positions = spans(torch.zeros_like(lengths), lengths)[None].to(model.device)
    else:
        ids, positions = pad_sequence(inputs, batch_first=True), None
        starts = torch.arange(len(inputs)) * ids.shape[1]
    predict = spans(starts + lengths - batch.lengths, batch.lengths)  # where the tokens that predict a completion stand
    ids = ids.to(model.device)
    if isinstance(model, Decoder):
        hidden = model(ids)  # [N, L, D]
    else:
        output = body(model)(input_ids=ids, position_ids=positions, use_cache=False)
        hidden = output.last_hidden_state
    return hidden.flatten(0, 1)[predict]


def _shared_prompt_hidden(model: nn.Module, batch: Sequences) -> Tensor:
    prompts, prompt_of = batch.distinct_prompts()
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    reader = Reader(model)
    read = reader.read(pad_sequence(prompts, batch_first=True).to(model.device))  # [U, L, D]
    last = read[torch.arange(len(prompts)), prompt_lengths - 1][prompt_of]  # predicts the first token, [N, D]
    reader.take(prompt_of)

    inputs = pad_sequence([completion[:-1] for completion in batch.completions], batch_first=True)  # [N, T]
    if inputs.shape[1] == 0:  # transformers' layers take no sequence without a token
        inputs = inputs.new_zeros(len(inputs), 1)
    count, length = inputs.shape
    steps = torch.arange(length)
    beyond = torch.arange(read.shape[1]) >= prompt_lengths[prompt_of, None]  # padding of the prompts, [N, L]
    later = (steps > steps[:, None]).expand(count, length, length)
    hidden_keys = torch.cat([beyond[:, None].expand(count, length, -1), later], -1)[:, None]  # [N, 1, T, L + T]
    mask = torch.zeros(hidden_keys.shape).masked_fill_(hidden_keys, -math.inf).to(model.device)
    positions = (prompt_lengths[prompt_of, None] + steps).to(model.device)
    hidden = torch.cat([last[:, None], reader.read(inputs.to(model.device), mask, positions)], 1)  # [N, 1 + T, D]
    return hidden[torch.arange(1 + length) < batch.lengths[:, None]]


def body(model: nn.Module) -> nn.Module:
    """What turns token ids into hidden states: of a sharded model the root, which gathers the weights."""
    return model if is_sharded(model) else model.base_model


def head(model: nn.Module, hidden: Tensor) -> Tensor:
    """Next-token logits in float32, [..., V], from hidden states [..., D]."""
    if isinstance(model, Decoder):
        return model.logits(hidden)
    return model.get_output_embeddings()(hidden).float()


def per_token(model: nn.Module, function: Callable, hidden: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, ...]:
    """function(logits, *others), from hidden states [M, D], without [M, V] logits that exist whole.

    `function` maps logits [m, V] and the same m rows of `others` to one or several tensors [m, ...], every row by
    itself. Beyond `LOGITS_CHUNK` logits it is called chunk by chunk, and backward computes a chunk's logits again.
    """

    def of(hidden: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, ...]:
        return function(head(model, hidden), *others)

    size = max(1, LOGITS_CHUNK // _vocabulary(model))
    if len(hidden) <= size:
        return of(hidden, *others)
    chunks = zip(*(rows.split(size) for rows in (hidden, *others)), strict=True)
    results = [checkpoint(of, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    if isinstance(results[0], Tensor):
        return torch.cat(results)
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


def _vocabulary(model: nn.Module) -> int:
    if isinstance(model, Decoder):
        return model.config["vocab_size"]
    return model.config.get_text_config().vocab_size


class Reader:
    """Feeds tokens to a model and keeps the keys and values that later ones attend to.

    With a capacity, in room reserved once (for sampling); without, as part of the graph (for training).
    """

    def __init__(self, model: nn.Module, capacity: int | None = None) -> None:
        self.model = model
        if isinstance(model, Decoder):
            self.cache = KVCache(len(model.layers), capacity)
            self.take = self.cache.take
        else:
            from hdpo.model.transformers_cache import new_cache

            self.cache = new_cache(model, capacity)
            self.take = self.cache.batch_select_indices  # keep, repeat or reorder rows, as `KVCache.take`

    def read(self, ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """Hidden states [N, L, D] of ids [N, L]; additive mask [N, 1, L, keys] (None: causal), positions [N, L]."""
        if isinstance(self.model, Decoder):
            return self.model(ids, mask, positions, self.cache)
        output = body(self.model)(
            input_ids=ids,
            attention_mask=None if mask is None else mask.to(self.model.dtype),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.last_hidden_state


def token_logp(logits: Tensor, tokens: Tensor) -> Tensor:
    """log π(token), [M], from logits [M, V] and tokens [M]."""
    return logits.log_softmax(-1).gather(-1, tokens[:, None].to(logits.device)).squeeze(-1)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy of each next-token distribution in nats, [M], from logits [M, V]."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def encode(tokenizer, texts: list[str]) -> list[Tensor]:
    """Token ids of each text, without special tokens."""
    return [torch.tensor(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
