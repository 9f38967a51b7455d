"""Logits are made in chunks: that changes no result, and bounds how many exist at a time."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hdpo.learning.jsd import jsd_k, teacher_top_k
from hdpo.model.forward import completion_hidden, per_token, token_entropy, token_logp
from hdpo.model.sequences import Sequences
from helpers.sequences import sequences

WIDTH = 64  # D of the smoke study's model


class LogitRows(TorchDispatchMode):
    """The most rows of logits, or of anything of their size, that are made inside, forward or backward."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple) else [result]:
            if isinstance(made, torch.Tensor) and made.ndim > 1 and made.shape[-1] == self.vocabulary:
                of_weights = made.shape[0] == WIDTH  # the head's, transposed
                self.rows = max(self.rows, 0 if of_weights else made.numel() // self.vocabulary)
        return result


def losses_in_chunks(policy, monkeypatch, chunk: int) -> tuple[list[torch.Tensor], int]:
    """Log-probs, entropy, the teacher's top k, the divergence, the gradient of a sum of them; rows of logits."""
    monkeypatch.setattr("hdpo.model.forward.LOGITS_CHUNK", chunk * 76)
    batch, longer = sequences(), sequences()
    longer = Sequences([prompt.repeat(2) for prompt in longer.prompts], longer.completions)
    policy.zero_grad()
    with torch.no_grad():
        teacher_hidden = completion_hidden(policy, longer)
    hidden = completion_hidden(policy, batch)
    with LogitRows(76) as seen:
        with torch.no_grad():
            logp, tokens = per_token(policy, lambda logits: teacher_top_k(logits, 8), teacher_hidden)
        found = [
            per_token(policy, token_logp, hidden, batch.tokens),
            per_token(policy, token_entropy, hidden),
            per_token(policy, jsd_k, hidden, logp, tokens),
        ]
        (found[0].sum() + 2 * found[1].square().sum() + 30 * found[2].sum()).backward()
    return [*found, logp, tokens, torch.cat([p.grad.flatten() for p in policy.parameters()])], seen.rows


@pytest.mark.parametrize("chunk", [1, 8, 20])
def test_chunks_of_logits_change_no_result_and_bound_what_exists(policy, monkeypatch, chunk):
    whole, rows = losses_in_chunks(policy, monkeypatch, 100)
    assert rows == 21  # all tokens of the batch at once
    parts, rows = losses_in_chunks(policy, monkeypatch, chunk)
    assert rows == chunk
    for a, b in zip(whole, parts, strict=True):
        assert a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(a.detach().abs().max()))
