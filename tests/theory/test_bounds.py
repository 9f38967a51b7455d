"""Lemma 1 and Proposition 1 on logits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import approx_fprime, minimize_scalar

from hdpo.system.errors import UserError
from hdpo.theory import bounds
from hdpo.theory.divergences import kl_between_logits

LOGITS = arrays(np.float64, (7,), elements=st.floats(-30, 30))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(LOGITS, LOGITS)
def test_kl_is_under_the_sharper_bound_and_that_under_lemma_1(logits, delta):
    divergence = kl_between_logits(logits, logits + delta)
    slack = 1 + 1e-9
    assert divergence + 1e-13 >= 0
    assert divergence <= bounds.range_bound(logits, logits + delta) * slack + 1e-13
    assert bounds.range_bound(logits, logits + delta) <= bounds.max_bound(logits, logits + delta) * slack


def test_bounds_by_hand_and_over_leading_axes():
    teacher, student = np.zeros((2, 1, 3)), np.array([[[1.0, -1.0, 0.0]], [[3.0, 3.0, 1.0]]])
    np.testing.assert_allclose(bounds.max_bound(teacher, student), [[1 / 2], [9 / 2]])
    np.testing.assert_allclose(bounds.range_bound(teacher, student), [[4 / 8], [4 / 8]])


def test_kl_agrees_with_torch_in_both_regimes():
    rng = np.random.default_rng(0)
    for scale in (0.3, 3.0, 100.0):
        teacher, student = scale * rng.normal(size=(2, 4, 9))
        logq, logp = (torch.log_softmax(torch.tensor(x), -1) for x in (student, teacher))
        expected = torch.nn.functional.kl_div(logq, logp, log_target=True, reduction="none").sum(-1)
        np.testing.assert_allclose(kl_between_logits(teacher, student), expected.numpy(), rtol=1e-10)


def test_shifting_all_logits_changes_only_lemma_1():
    teacher, student = np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.8, 2.5])
    for function in (kl_between_logits, bounds.range_bound):
        assert function(teacher, student + 10) == pytest.approx(function(teacher, student), rel=1e-12)
    assert bounds.max_bound(teacher, student + 10) > 50 > bounds.max_bound(teacher, student)


@pytest.mark.parametrize("width", [0.05, 1.0, 6.0])
def test_supremum_by_calculus_by_search_and_by_adversary(width):
    supremum = bounds.largest_kl(width)
    searched = minimize_scalar(lambda m: m * width - np.log1p(m * np.expm1(width)), bounds=(0, 1), method="bounded")
    assert -searched.fun == pytest.approx(supremum, rel=1e-8)
    logits, delta = bounds.adversarial_logits(5, width, np.random.default_rng(1))
    assert np.ptp(delta) <= width * (1 + 1e-12)
    assert kl_between_logits(logits, logits + delta) == pytest.approx(supremum, rel=1e-8)
    assert supremum < width**2 / 8


def test_adversary_needs_the_supremum_to_be_a_stationary_point():
    mass = 1 / 2 - 1 / np.expm1(2.0)

    def two_point(x):
        return np.log1p(x[0] * np.expm1(2.0)) - 2 * x[0]

    assert two_point([mass]) == pytest.approx(bounds.largest_kl(2.0), rel=1e-12)
    assert abs(approx_fprime([mass], two_point, 1e-7)[0]) < 1e-5


def test_proposition_1_by_hand():
    privileged, plain, other = np.array([1.0, 0.0]), np.array([0.0, 0.0]), np.array([0.0, 0.5])
    quantities = bounds.proposition1(privileged, plain, other)
    assert quantities["same_bound"] == 1 / 2  # ‖(1, 0)‖∞² / 2
    assert quantities["same_range_bound"] == 1 / 8
    assert quantities["cross_bound"] == 2.0  # (1 + ‖(−1, 0.5)‖∞)² / 2
    assert quantities["cross_direct_bound"] == 1 / 8
    same = np.log(2) - (-(1 / (1 + np.e)) * np.log(1 / (1 + np.e)) - np.e / (1 + np.e) * np.log(np.e / (1 + np.e)))
    assert quantities["same_kl"] == pytest.approx(same, rel=1e-12)  # KL to uniform = ln 2 − entropy
    assert "cross_kl" not in bounds.proposition1(privileged, plain)


def test_counter_example_has_the_larger_bound_and_no_gap():
    # θ(c) = c on two tokens, c_S = (0, 0), c_T = (1, 0); φ maps c_T to (0, 0) exactly.
    weights, plain, privileged = np.eye(2), np.zeros(2), np.array([1.0, 0.0])
    other = bounds.zero_gap_teacher(weights, plain, privileged)
    np.testing.assert_array_equal(other @ privileged, weights @ plain)
    quantities = bounds.proposition1(weights @ privileged, weights @ plain, other @ privileged)
    assert quantities["cross_kl"] == 0.0 < quantities["same_kl"]
    assert quantities["cross_bound"] > quantities["same_bound"]


def test_lipschitz_constant_is_reached_and_never_exceeded():
    weights = np.array([[3.0, 4.0], [1.0, 0.0]])
    assert bounds.linear_model_lipschitz(weights) == 5.0
    steps = np.random.default_rng(2).normal(size=(100, 2))
    ratios = np.abs(steps @ weights.T).max(axis=1) / np.linalg.norm(steps, axis=1)
    assert 4.5 < ratios.max() <= 5.0 * (1 + 1e-12)


def test_bad_logits_are_named():
    with pytest.raises(UserError, match="one shape"):
        kl_between_logits(np.zeros(3), np.zeros(4))
    with pytest.raises(UserError, match="student logits must be finite"):
        bounds.max_bound(np.zeros(2), np.array([0.0, np.nan]))
    with pytest.raises(UserError, match="logit range r"):
        bounds.largest_kl(0.0)
