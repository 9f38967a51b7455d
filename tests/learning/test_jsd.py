"""The divergence against scipy, by hand, and by direct computation of its tail."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from hdpo.learning.jsd import top_k_jsd

VOCABULARY = 11


@pytest.fixture
def logits():
    random = torch.Generator().manual_seed(0)
    return tuple(3 * torch.randn(40, VOCABULARY, generator=random, dtype=torch.float64) for _ in range(2))


def test_full_vocabulary_equals_scipy(logits):
    teacher, student = logits
    expected = jensenshannon(teacher.softmax(-1), student.softmax(-1), axis=-1) ** 2
    for k in (VOCABULARY, VOCABULARY + 50):
        assert np.allclose(top_k_jsd(teacher, student, k), expected, rtol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_exact_tail_equals_the_divergence_to_the_truncated_teacher(logits, k):
    teacher, student = logits
    kept = teacher.topk(k, -1)
    truncated = torch.full_like(teacher, -torch.inf).scatter(-1, kept.indices, kept.values).softmax(-1)
    expected = jensenshannon(truncated, student.softmax(-1), axis=-1) ** 2
    assert np.allclose(top_k_jsd(teacher, student, k), expected, rtol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_printed_tail_adds_half_the_outside_mass_again(logits, k):
    teacher, student = logits
    rest = 1 - student.softmax(-1).gather(-1, teacher.topk(k, -1).indices).sum(-1)
    difference = top_k_jsd(teacher, student, k, "paper") - top_k_jsd(teacher, student, k, "exact")
    assert torch.allclose(difference, rest * math.log(2) / 2)


def test_three_tokens_by_hand():
    # P = (1/2, 1/2, 0) after top-2, Q = (1/4, 1/4, 1/2): M = (3/8, 3/8, 1/4).
    # KL(P‖M) = ln(4/3); KL(Q‖M) = ½ ln(2/3) + ½ ln 2 = ½ ln(4/3); JSD = ¾ ln(4/3)
    teacher = torch.tensor([[0.0, 0.0, -9.0]])
    student = torch.tensor([[0.25, 0.25, 0.5]]).log()
    assert float(top_k_jsd(teacher, student, 2)) == pytest.approx(0.75 * math.log(4 / 3), rel=1e-6)


def test_symmetric_without_truncation_and_zero_only_at_equality(logits):
    teacher, student = logits
    assert torch.allclose(top_k_jsd(teacher, student, 99), top_k_jsd(student, teacher, 99))
    assert top_k_jsd(teacher, teacher + 5.0, 99).abs().max() < 1e-12
    assert top_k_jsd(teacher, student, 99).min() > 1e-3


@pytest.mark.parametrize("k", [1, 4, VOCABULARY])
def test_bounded_by_ln_2_even_for_disjoint_distributions(logits, k):
    teacher, student = logits
    extreme = torch.eye(VOCABULARY, dtype=torch.float64) * 200
    values = torch.cat([top_k_jsd(teacher, student, k), top_k_jsd(extreme, extreme.roll(1, 0), k)])
    assert values.min() >= 0
    assert values.max() <= math.log(2) + 1e-12
    assert values[-1] == pytest.approx(math.log(2), rel=1e-9)


@pytest.mark.parametrize(("k", "tail"), [(3, "exact"), (3, "paper"), (VOCABULARY, "exact")])
def test_gradient_is_right_and_finite_at_extremes(logits, k, tail):
    teacher, student = (part[:4].clone() for part in logits)
    student.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: top_k_jsd(teacher, z, k, tail), (student,))
    far = torch.eye(VOCABULARY).float() * 500
    moved = far.roll(1, 0).requires_grad_(True)
    top_k_jsd(far, moved, k, tail).sum().backward()
    assert torch.isfinite(moved.grad).all()
