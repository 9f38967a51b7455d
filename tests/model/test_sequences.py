"""Rows of sequences: in micro-batches, as tokens, and once each where they are equal."""

import torch

from hdpo.model.sequences import Sequences
from helpers.sequences import sequences


def test_micro_batches_cover_each_row_once_within_the_budget():
    batch = sequences()
    for budget in (1, 20, 34, 1000):
        groups = list(batch.micro_batches([0, 1, 3, 2], budget))
        assert sorted(row for group in groups for row in group) == [0, 1, 2, 3]
        for group in groups:
            longest = max(len(batch.prompts[i]) + len(batch.completions[i]) for i in group)
            assert len(group) == 1 or longest * len(group) <= budget
    assert list(batch.micro_batches([], 10)) == []


def test_token_index_finds_the_tokens_of_the_rows():
    batch = sequences()
    assert torch.equal(batch.tokens[batch.token_index([2, 0])], torch.cat([batch.completions[i] for i in (2, 0)]))


def test_a_pass_reads_prompts_and_all_but_the_last_token():
    """Prompts of 2, 2 and 1 tokens, completions of 3, 1 and 0; the first prompt twice."""
    a, b = torch.tensor([3, 4]), torch.tensor([5])
    batch = Sequences([a, a, b], [torch.tensor([6, 7, 8]), b, b[:0]])
    assert batch.passed() == 4 + 2 + 1 and batch.passed(share_prompts=True) == 2 + 1 + 2
    assert Sequences([], []).passed() == Sequences([], []).passed(share_prompts=True) == 0


def test_distinct_rows_come_once_with_their_counts():
    """The same completion under another prompt is another sequence; order and first place are those of `rows`."""
    a, b, c = (torch.tensor(ids) for ids in ([3, 4], [3], [5]))
    batch = Sequences([a, a, b, a, b, a], [c, b, c, c, c, b])
    rows, counts = batch.distinct([5, 0, 2, 3, 4, 1])
    assert rows == [5, 0, 2] and counts == [2, 2, 2]
    rows, counts = batch.distinct([0, 1, 3])
    assert rows == [0, 1] and counts == [2, 1]
    rows, counts = batch.distinct([])
    assert rows == counts == []
