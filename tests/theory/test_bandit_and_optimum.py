"""The shared-weights bandit, the closed form of Proposition 2, and the errors for problems that do not exist."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from hdpo.system.errors import UserError
from hdpo.theory import bandit, optimal_policy
from hdpo.theory.divergences import jsd, kl, kl_between_logits, log_softmax, total_variation

# Three arms, two of them correct, p = 1/4. With e^{1/β} = 3, i.e. β = 1/ln 3: Z = 3/4 + 3/4 = 3/2, so
# π* = (1/8·3, 1/8·3, 3/4) / (3/2) = (1/4, 1/4, 1/2), the optimum is β ln Z, and TV to (1/2, 1/2, 0) is 1/2.
REF = np.log([1 / 8, 1 / 8, 3 / 4])
REWARD = np.array([1.0, 1.0, 0.0])
BETA = 1 / np.log(3)


def test_divergences_agree_with_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    assert kl(np.log(p), np.log(q)) == pytest.approx(entropy(p, q), rel=1e-13)
    assert jsd(np.log(p), np.log(q)) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-12)
    assert kl_between_logits(np.log(p) + 5, np.log(q) - 2) == pytest.approx(entropy(p, q), rel=1e-12)


def test_kl_of_disjoint_support_is_infinite_and_jsd_is_ln_2():
    with np.errstate(divide="ignore"):
        left, right = np.log([1.0, 0.0]), np.log([0.0, 1.0])
    assert kl(left, right) == np.inf
    assert kl(left, left) == 0
    assert jsd(left, right) == pytest.approx(np.log(2), rel=1e-15)


def test_small_kl_keeps_its_relative_accuracy():
    # For two equal arms and δ = (0, ε): KL = log((1 + e^ε)/2) − ε/2 = ε²/8 − ε⁴/192 + …
    assert kl_between_logits(np.zeros(2), np.array([0.0, 1e-7])) == pytest.approx(1e-14 / 8, rel=1e-12)


def test_teacher_and_student_are_one_network():
    toy = bandit.make_bandit(6, 2, 0.2, np.random.default_rng(1))
    assert bandit.success_probability(toy.student_logp(), toy.reward) == pytest.approx(0.2, rel=1e-13)
    np.testing.assert_allclose(toy.teacher_logp([0, 0]), toy.student_logp(), atol=1e-15)
    answer = toy.teacher_logp([1.5, 0]) - toy.student_logp()  # every correct arm up by 1.5 against every wrong
    np.testing.assert_allclose(answer - answer[-1], 1.5 * toy.reward, atol=1e-12)
    moved = bandit.Bandit(toy.weights + 0.1 * np.eye(6, 8), toy.context, toy.hint_map, toy.reward)
    assert total_variation(moved.teacher_logp([1.5, 0]), toy.teacher_logp([1.5, 0])) > 1e-3


def test_optimal_policy_by_hand():
    found = optimal_policy.optimal_log_policy(REF, REWARD, BETA)
    np.testing.assert_allclose(np.exp(found), [1 / 4, 1 / 4, 1 / 2], rtol=1e-13)
    assert optimal_policy.optimal_value(0.25, BETA) == pytest.approx(np.log(1.5) / np.log(3), rel=1e-13)
    assert optimal_policy.log_tv_to_target(0.25, BETA) == pytest.approx(np.log(0.5), rel=1e-13)


@pytest.mark.parametrize("beta", [1e-6, 1e-2, 1.0, 1e4])
def test_searches_find_the_closed_form(beta):
    closed = optimal_policy.optimal_log_policy(REF, REWARD, beta)
    assert total_variation(optimal_policy.gradient_ascent(REF, REWARD, beta), closed) < 1e-8
    assert total_variation(optimal_policy.dual_solver(REF, REWARD, beta), closed) < 1e-12
    if beta >= 1:
        assert total_variation(optimal_policy.convex_solver(REF, REWARD, beta), closed) < 1e-8
        plain = optimal_policy.gradient_ascent(REF, REWARD, beta, natural=False)
        assert total_variation(plain, closed) < 1e-8


@pytest.mark.parametrize("beta", [1e-2, 1.0, 1e3])
def test_no_other_policy_does_better(beta):
    best = optimal_policy.objective(optimal_policy.optimal_log_policy(REF, REWARD, beta), REF, REWARD, beta)
    assert best == pytest.approx(optimal_policy.optimal_value(0.25, beta), rel=1e-12)
    others = log_softmax(np.random.default_rng(2).normal(scale=3, size=(200, 3)))
    assert max(optimal_policy.objective(other, REF, REWARD, beta) for other in others) < best


def test_extreme_beta_neither_overflows_nor_loses_the_odds():
    ref = np.log([0.01, 0.03, 0.96])
    for beta in (1e-308, 1e-12, 1e12):
        found = optimal_policy.optimal_log_policy(ref, REWARD, beta)
        assert found[1] - found[0] == pytest.approx(np.log(3), rel=1e-13)
    np.testing.assert_allclose(np.exp(optimal_policy.optimal_log_policy(ref, REWARD, 1e-12)), [0.25, 0.75, 0])


@pytest.mark.parametrize("beta", [0, -1.0, np.inf, np.nan])
def test_beta_must_be_positive(beta):
    for call in (optimal_policy.optimal_log_policy, optimal_policy.gradient_ascent, optimal_policy.dual_solver):
        with pytest.raises(UserError, match="β must be"):
            call(REF, REWARD, beta)


def test_the_target_does_not_exist_without_a_correct_arm():
    with np.errstate(divide="ignore"):
        impossible = np.log([0.0, 0.0, 1.0])
    for policy, reward in ((REF, np.zeros(3)), (impossible, REWARD)):
        with pytest.raises(UserError, match="success probability p = P\\(R = 1\\) is 0"):
            bandit.condition_on_success(policy, reward)


@pytest.mark.parametrize(
    ("policy", "reward", "message"),
    [
        (np.log([0.5, 0.4, 0.2]), REWARD, "reference policy π_ref must be normalised"),
        (np.array([np.nan, 0, 0]), REWARD, "reference policy π_ref must hold log-probabilities"),
        (REF, np.array([1.0, 0.5, 0.0]), "reward R must be binary"),
        (REF, np.ones(2), "reward R must have one entry per arm"),
    ],
)
def test_bad_problems_are_named_in_one_line(policy, reward, message):
    with pytest.raises(UserError, match=message) as caught:
        optimal_policy.optimal_log_policy(policy, reward, 1.0)
    assert "\n" not in str(caught.value)


def test_a_bandit_needs_both_kinds_of_arm():
    rng = np.random.default_rng(0)
    for n_correct, success, message in ((0, 0.5, "correct arms"), (4, 0.5, "number of arms"), (2, 0.0, "p must be")):
        with pytest.raises(UserError, match=message):
            bandit.make_bandit(4, n_correct, success, rng)


def test_gradient_ascent_says_when_it_has_not_converged():
    with pytest.raises(UserError, match="did not converge in 3 steps"):
        optimal_policy.gradient_ascent(REF, REWARD, 1.0, max_steps=3)
