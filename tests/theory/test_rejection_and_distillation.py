"""Sampling the target by rejection, and what distilling it converges to."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from hdpo.system.errors import UserError
from hdpo.theory import distillation, rejection
from hdpo.theory.bandit import condition_on_success, success_probability
from hdpo.theory.divergences import jsd, log_softmax, total_variation

REF = np.log([0.02, 0.08, 0.9])
REWARD = np.array([1.0, 1.0, 0.0])  # target (0.2, 0.8, 0), p = 0.1


def test_rejection_sampling_gives_only_correct_arms_in_the_reference_odds():
    accepted, n_proposals = rejection.rejection_sample(REF, REWARD, 20_000, np.random.default_rng(0))
    assert set(accepted) == {0, 1}
    assert stats.binomtest(int((accepted == 0).sum()), 20_000, 0.2).pvalue > 1e-3
    # One failed or accepted proposal at a time: accepted out of proposed is binomial with p = 0.1.
    assert stats.binomtest(20_000, n_proposals, 0.1).pvalue > 1e-3


def test_proposals_are_counted_up_to_the_last_acceptance():
    # p = 1: nothing is rejected, so every acceptance costs exactly one proposal.
    with np.errstate(divide="ignore"):
        certain = np.log([0.5, 0.5, 0.0])
    assert rejection.rejection_sample(certain, REWARD, 1000, np.random.default_rng(1))[1] == 1000


def test_slope_fit_on_an_exact_power_law():
    n = np.array([10, 100, 1000])
    slope, half_width = rejection.fit_slope(pd.DataFrame([(1 + r) * n**-0.5 for r in range(5)], columns=n))
    assert slope == pytest.approx(-0.5, abs=1e-12)
    assert half_width < 1e-12


def test_fit_test_is_calibrated_and_has_power():
    rng = np.random.default_rng(2)
    target = condition_on_success(REF, REWARD)
    distance, critical = rejection.uniformity(rejection.goodness_of_fit(REF, REWARD, target, 2000, 300, rng))
    assert distance < critical
    with np.errstate(divide="ignore"):
        wrong = np.log([0.25, 0.75, 0.0])
    distance, critical = rejection.uniformity(rejection.goodness_of_fit(REF, REWARD, wrong, 2000, 300, rng))
    assert distance > critical


def test_an_impossible_draw_gives_p_value_zero():
    with np.errstate(divide="ignore"):
        only_first = np.log([1.0, 0.0, 0.0])
    assert (rejection.goodness_of_fit(REF, REWARD, only_first, 100, 3, np.random.default_rng(3)) == 0).all()


def test_sampling_a_target_that_does_not_exist_is_an_error():
    with pytest.raises(UserError, match="p = P\\(R = 1\\) is 0"):
        rejection.rejection_sample(REF, np.zeros(3), 10, np.random.default_rng(4))


@pytest.mark.parametrize("name", distillation.DIVERGENCES)
def test_gradients_agree_with_autograd(name):
    rng = np.random.default_rng(5)
    target, logits = log_softmax(rng.normal(size=5)), rng.normal(size=5)
    student = torch.tensor(logits, requires_grad=True)
    logq, logp = torch.log_softmax(student, 0), torch.tensor(target)
    mixture = torch.log((logp.exp() + logq.exp()) / 2)
    forward, reverse = (logp.exp() * (logp - logq)).sum(), (logq.exp() * (logq - logp)).sum()
    halves = (logp.exp() * (logp - mixture)).sum() / 2 + (logq.exp() * (logq - mixture)).sum() / 2
    expected = {"forward KL": forward, "reverse KL": reverse, "JSD": halves}[name]
    expected.backward()
    value, gradient = distillation.divergence_and_gradient(name, target, logits)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, student.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["forward KL", "JSD"])
def test_an_able_student_recovers_the_filtered_teacher(name):
    target = condition_on_success(REF, REWARD)
    assert total_variation(distillation.distil(target, name), target) < 1e-8


def test_reverse_kl_to_a_filtered_teacher_is_refused():
    with pytest.raises(UserError, match="reverse KL to a filtered teacher is infinite"):
        distillation.distil(condition_on_success(REF, REWARD), "reverse KL")
    assert total_variation(distillation.distil(REF, "reverse KL"), REF) < 1e-8


def test_unknown_divergence_and_unnormalised_teacher_are_refused():
    with pytest.raises(UserError, match="divergence must be one of"):
        distillation.divergence_and_gradient("KL", REF, REF)
    with pytest.raises(UserError, match="teacher must be normalised"):
        distillation.distil(np.log([0.5, 0.6]), "JSD")


def test_a_limited_student_covers_under_forward_kl_and_chooses_under_jsd():
    reward, target, features = distillation.limited_problem()
    covering, choosing = (distillation.distil(target, name, features) for name in ("forward KL", "JSD"))
    # Moment matching is the condition for the minimum of forward KL in an exponential family.
    np.testing.assert_allclose(features.T @ np.exp(covering), features.T @ np.exp(target), atol=1e-8)
    assert success_probability(covering, reward) < 0.5 < success_probability(choosing, reward)
    half = reward * (np.arange(reward.size) < 10)
    assert abs(success_probability(choosing, half) - 0.5) > 0.49  # nearly all of it on one of the two modes


def test_token_level_jsd_is_zero_at_the_unfiltered_teacher_only():
    # First token fair, second right with probability 1/2: only "0 then 0" is correct, so p_T = 1/4. Filtered
    # rollouts visit prefix 0 alone; there the loss compares with the teacher's (1/2, 1/2), not with (1, 0).
    first, second = np.log([0.5, 0.5]), np.log(np.full((2, 2), 0.5))
    reward = np.array([1.0, 0, 0, 0])
    second[1] = np.log([0.9, 0.1])  # never compared, so that prefix stays as it starts, uniform
    tables = distillation.distil_token_level(first, second, reward)
    np.testing.assert_allclose(np.exp(tables[1][1]), [0.5, 0.5])
    assert success_probability(distillation.sequence_logp(*tables), reward) == pytest.approx(0.25, abs=1e-8)
    assert jsd(first, tables[0]) < 1e-15
    by_sequence = distillation.distil_sequence_level(first, second, reward)
    assert success_probability(by_sequence, reward) == pytest.approx(1.0, abs=1e-8)
