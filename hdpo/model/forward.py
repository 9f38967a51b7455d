"""Forward passes over completions: the one place that shifts and masks.

A batch is a list of prompts and a list of completions. Rows are padded on the right only, or joined to one row, so
causal attention needs no padding mask. Every result is flat: one row for each of the M completion tokens, no padding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from hdpo.model.language_model import LanguageModel
from hdpo.model.masks import additive_mask
from hdpo.model.sequences import Sequences, spans

LOGITS_CHUNK = 2**27  # logits that exist at a time: 883 tokens of a vocabulary of 151,936, every batch of a small one


def completion_logits(model: LanguageModel, batch: Sequences, share_prompts: bool = False) -> Tensor:
    """Logits that predict each completion token, [M, V], where they are small enough to exist whole."""
    return model.logits(completion_hidden(model, batch, share_prompts))


def completion_hidden(model: LanguageModel, batch: Sequences, share_prompts: bool = False) -> Tensor:
    """Hidden states that predict each completion token, [M, D]: position p−1+t of a row predicts its token t.

    With `share_prompts` the model reads each distinct prompt once, and every completion attends to it, forward and
    backward. It computes the same function with less work where G rollouts share a prompt. It does not go with
    gradient checkpointing, which would fill the cache twice, nor with flash attention, which takes no such mask.

    Raises:
        ValueError: a prompt is empty, so nothing predicts the first completion token.
    """
    for row, prompt in enumerate(batch.prompts):
        if len(prompt) == 0:
            raise ValueError(f"sequence {row}: empty prompt")
    return _shared_prompt_hidden(model, batch) if share_prompts else _hidden(model, batch)


def _hidden(model: LanguageModel, batch: Sequences) -> Tensor:
    inputs = [torch.cat([p, c[:-1]]) for p, c in zip(batch.prompts, batch.completions, strict=True)]  # all but the last
    lengths = torch.tensor([len(row) for row in inputs])
    if model.packs:
        ids = torch.cat(inputs)[None]
        starts = lengths.cumsum(0) - lengths
        positions = spans(torch.zeros_like(lengths), lengths)[None].to(model.device)
    else:  # SDPA would compute the whole square of a joined row
        ids, positions = pad_sequence(inputs, batch_first=True), None
        starts = torch.arange(len(inputs)) * ids.shape[1]
    predict = spans(starts + lengths - batch.lengths, batch.lengths)  # positions that predict a completion token, [M]
    hidden: Tensor = model(ids.to(model.device), positions=positions)  # [N, L, D]
    return hidden.flatten(0, 1)[predict]


def _shared_prompt_hidden(model: LanguageModel, batch: Sequences) -> Tensor:
    prompts, prompt_of = batch.distinct_prompts()
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    cache = model.new_cache(capacity=None)
    read = model(pad_sequence(prompts, batch_first=True).to(model.device), cache=cache)  # [U, L, D]
    last = read[torch.arange(len(prompts)), prompt_lengths - 1][prompt_of]  # predicts the first token, [N, D]
    cache.take(prompt_of)

    inputs = pad_sequence([completion[:-1] for completion in batch.completions], batch_first=True)  # [N, T − 1]
    if inputs.shape[1] == 0:  # transformers' layers take no sequence without a token
        inputs = inputs.new_zeros(len(inputs), 1)
    count, length = inputs.shape
    steps = torch.arange(length)
    padding = torch.arange(read.shape[1]) >= prompt_lengths[prompt_of, None]  # of the prompts, [N, L]
    later = (steps > steps[:, None]).expand(count, length, length)
    blocked = torch.cat([padding[:, None].expand(count, length, -1), later], -1)[:, None]  # [N, 1, T − 1, L + T − 1]
    positions = prompt_lengths[prompt_of, None] + steps
    inputs, mask, positions = (tensor.to(model.device) for tensor in (inputs, additive_mask(blocked), positions))
    hidden = torch.cat([last[:, None], model(inputs, mask, positions, cache)], 1)  # [N, T, D]
    return hidden[torch.arange(1 + length) < batch.lengths[:, None]]


def per_token(model: LanguageModel, function: Callable[..., Any], hidden: Tensor, *others: Tensor) -> Any:
    """function(logits, *others) from hidden states [M, D], without all of the [M, V] logits at once.

    `function` maps logits [m, V] and the same m rows of `others` to one or several tensors [m, ...], each row by
    itself. Beyond `LOGITS_CHUNK` logits it is called chunk by chunk, and backward computes a chunk's logits again.
    """

    def of(hidden: Tensor, *others: Tensor) -> Any:
        return function(model.logits(hidden), *others)

    size = max(1, LOGITS_CHUNK // model.vocabulary)
    if len(hidden) <= size:
        return of(hidden, *others)
    chunks = zip(*(rows.split(size) for rows in (hidden, *others)), strict=True)
    results = [checkpoint(of, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    if torch.is_tensor(results[0]):
        return torch.cat(results)
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


def token_logp(logits: Tensor, tokens: Tensor) -> Tensor:
    """log π(token), [M], from logits [M, V] and tokens [M]."""
    return logits.log_softmax(-1).gather(-1, tokens[:, None].to(logits.device)).squeeze(-1)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy of each next-token distribution in nats, [M], from logits [M, V]."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)
