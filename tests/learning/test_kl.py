"""The Kullback–Leibler divergences against torch.distributions, values and gradients."""

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from hdpo.learning.jsd import teacher_top_k
from hdpo.learning.kl import forward_kl, reverse_kl

RANDOM = torch.Generator().manual_seed(0)
TEACHER, STUDENT = (3 * torch.randn(5, 7, generator=RANDOM, dtype=torch.double) for _ in range(2))


@pytest.mark.parametrize("name", ["forward", "reverse"])
def test_over_the_whole_vocabulary_they_are_those_of_torch(name):
    student = STUDENT.clone().requires_grad_()
    p, q = Categorical(logits=TEACHER), Categorical(logits=student)
    found, expected = {
        "forward": (forward_kl, kl_divergence(p, q)),
        "reverse": (reverse_kl, kl_divergence(q, p)),
    }[name]
    found = found(student, *teacher_top_k(TEACHER, 1_000_000))
    assert torch.allclose(found, expected, rtol=1e-10)
    gradients = [torch.autograd.grad(value.sum(), student, retain_graph=True)[0] for value in (found, expected)]
    assert torch.allclose(*gradients, rtol=1e-8, atol=1e-12) and gradients[0].abs().max() > 0.1


def test_with_fewer_tokens_the_teacher_is_renormalised():
    """P = (1, 0, …) for k = 1: −log q of that token one way, q log q of it the other."""
    logp, tokens = teacher_top_k(TEACHER, 1)
    q = STUDENT.softmax(1).gather(1, tokens)[:, 0]
    assert torch.allclose(forward_kl(STUDENT, logp, tokens), -q.log())
    assert torch.allclose(reverse_kl(STUDENT, logp, tokens), q * q.log())


@pytest.mark.parametrize("divergence", [forward_kl, reverse_kl])
def test_a_token_without_probability_adds_nothing_and_no_nan(divergence):
    """Padding of a vocabulary: its logit is −∞ for teacher and student alike."""
    padded = [torch.cat([logits, torch.full((5, 1), -math.inf)], 1) for logits in (TEACHER, STUDENT)]
    student = padded[1].requires_grad_()
    found = divergence(student, *teacher_top_k(padded[0], 8))
    assert torch.allclose(found, divergence(STUDENT, *teacher_top_k(TEACHER, 7)))
    found.sum().backward()
    assert torch.isfinite(student.grad).all()
