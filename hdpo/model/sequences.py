"""Prompts with their completions, as token ids."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


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

    def __add__(self, other: "Sequences") -> "Sequences":
        return Sequences(self.prompts + other.prompts, self.completions + other.completions)

    def passed(self, share_prompts: bool = False) -> int:
        """Tokens that one pass through the network reads: prompts, and completions without their last token.

        With `share_prompts` each distinct prompt counts once, whatever the micro-batches.
        """
        prompts = self.distinct_prompts()[0] if share_prompts else self.prompts
        return int((self.lengths - 1).clamp_min(0).sum()) + sum(map(len, prompts))

    def select(self, rows: list[int]) -> "Sequences":
        return Sequences([self.prompts[i] for i in rows], [self.completions[i] for i in rows])

    def token_index(self, rows: list[int]) -> Tensor:
        """The places of the tokens of `rows` among all M tokens, in the order of `rows`."""
        starts = self.lengths.cumsum(0) - self.lengths
        return spans(starts[rows], self.lengths[rows])

    def distinct(self, rows: list[int], values: Sequence[Hashable] = ()) -> tuple[list[int], list[int]]:
        """The first of each set of `rows` with equal prompt and completion, in order, and the size of each set.

        With `values`, one for each of the N sequences, these must be equal as well.
        """
        first: dict[tuple[object, ...], int] = {}
        counts: Counter[int] = Counter()
        for i in rows:
            value = values[i] if values else 0
            key = (value, tuple(self.prompts[i].tolist()), tuple(self.completions[i].tolist()))
            counts[first.setdefault(key, i)] += 1
        return list(counts), list(counts.values())

    def distinct_prompts(self) -> tuple[list[Tensor], Tensor]:
        """The U distinct prompts, and the index of each sequence's prompt among them, [N]."""
        keys = [tuple(prompt.tolist()) for prompt in self.prompts]
        index = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return [torch.tensor(key) for key in index], torch.tensor([index[key] for key in keys])

    def micro_batches(self, rows: list[int], max_tokens: int, share_prompts: bool = False) -> Iterator[list[int]]:
        """Split `rows` into groups of similar length with at most `max_tokens` padded tokens each (or one row).

        With `share_prompts`, as in `completion_logits`, only completion tokens count.
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
