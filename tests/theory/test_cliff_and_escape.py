"""GRPO's zero update on a cliff, and the time either method needs to leave it."""

import numpy as np
import pytest
from scipy.special import expit, logit

from hdpo.system.errors import UserError
from hdpo.theory import cliff, escape
from hdpo.theory.distillation import divergence_and_gradient
from hdpo.theory.divergences import log_softmax


def test_advantages_by_hand():
    # 16 rollouts. One success: the others of the successful one are all 0, so std = 0 and A = 1 − 0. For a
    # failed one: b = 1/15, variance (1/15 − 1/225)·15/14 = 1/15, A = −(1/15)/√(1/15) = −√(1/15).
    one = cliff.leave_one_out_advantages(np.array([[1] + [0] * 15]))[0]
    np.testing.assert_allclose(one, [1.0] + [-np.sqrt(1 / 15)] * 15, rtol=1e-5)
    # Two successes: a successful one sees b = 1/15, A = (14/15)/√(1/15); a failed one b = 2/15 and variance
    # (2/15 − 4/225)·15/14 = 13/105, A = −(2/15)/√(13/105).
    two = cliff.leave_one_out_advantages(np.array([[1, 1] + [0] * 14]))[0]
    np.testing.assert_allclose(two[[0, 1]], 14 / 15 * np.sqrt(15), rtol=1e-5)
    np.testing.assert_allclose(two[2:], -(2 / 15) / np.sqrt(13 / 105), rtol=1e-5)


@pytest.mark.parametrize("group_size", [3, 4, 7, 16])
def test_equal_rewards_give_exactly_zero_advantages(group_size):
    for value in (0.0, 1.0):
        assert (cliff.leave_one_out_advantages(np.full((2, group_size), value)) == 0.0).all()


def test_grpo_is_exactly_zero_on_the_cliff_and_distillation_is_not():
    logp, reward = log_softmax(np.array([-1.0, 0.0, 0.5])), np.array([1.0, 0.0, 0.0])
    assert (cliff.group_update(logp, reward, np.array([1, 2, 2, 1])) == 0.0).all()
    assert cliff.group_update(logp, reward, np.array([0, 2, 2, 1]))[0] > 0.1
    teacher = log_softmax(np.array([1.0, 0.0, 0.5]))
    update = cliff.distillation_update(logp, teacher)
    assert update[0] > 0.01
    assert log_softmax(logp + update)[0] > logp[0]


def test_expected_update_splits_off_the_cliff():
    logp, reward = log_softmax(np.array([0.0, 0.0, np.log(2)])), np.array([1.0, 0.0, 0.0])  # p = 1/4
    parts = cliff.expected_update(logp, reward, 4)
    assert parts["cliff probability"] == pytest.approx((3 / 4) ** 4, rel=1e-13)
    assert (parts["on cliffs"] == 0).all()
    sampled = np.random.default_rng(0).choice(3, p=np.exp(logp), size=(4000, 4))
    updates = np.array([cliff.group_update(logp, reward, arms) for arms in sampled])
    error = np.abs(updates.mean(axis=0) - parts["whole"]) / (updates.std(axis=0) / np.sqrt(4000))
    assert error.max() < 4  # standard errors, three correlated entries


def test_cliff_probability_and_waits_by_hand():
    assert cliff.cliff_probability(0.5, 4) == 1 / 16
    assert cliff.cliff_probability(1.0, 4) == 0
    assert cliff.expected_wait((1, 0.5)) == pytest.approx(2)
    assert cliff.expected_wait((8, 1.0)) == 1
    assert cliff.expected_wait((1, 0.5), (1, 0.5)) == pytest.approx(4 / 3)
    assert cliff.expected_wait((1, 1e-9)) == pytest.approx(1e9, rel=1e-12)


def test_simulated_waits_have_the_geometric_mean_across_blocks():
    waits = cliff.simulated_waits((2, 0.01), repetitions=2000, rng=np.random.default_rng(1), block=8)
    expected = 1 / (1 - 0.99**2)
    assert abs(waits.mean() - expected) < 4 * expected / np.sqrt(2000)


def test_jsd_pull_is_the_two_arm_gradient():
    for token_success, teacher in ((1e-6, 0.9), (0.3, 0.6), (0.8, 0.2)):
        target = np.log([teacher, 1 - teacher])
        gradient = divergence_and_gradient("JSD", target, np.array([logit(token_success), 0.0]))[1]
        assert escape.jsd_pull(np.array(token_success), teacher) == pytest.approx(-gradient[0], rel=1e-9)


def test_grpo_drift_is_the_enumerated_update():
    # One token, two arms: the first entry of the expected update is the drift of its logit.
    success = 0.2
    parts = cliff.expected_update(np.log([success, 1 - success]), np.array([1.0, 0.0]), 5)
    assert escape.grpo_drift(success, 1, 5) == pytest.approx(parts["whole"][0], rel=1e-10)


def test_climb_formula_solves_its_differential_equation():
    # Follow the mean-field flow in small steps for the predicted time: it must end at the goal.
    time = escape.Climb(tokens=4, weight=0.1).time(1e-4, 0.1)
    position, n_steps = logit(1e-4 ** (1 / 4)), 4000
    for _ in range(n_steps):
        s = float(expit(position))
        demonstrated = 1 - 0.5**4
        pull = 0.1 * demonstrated * (1 - s**4) ** 16 * escape.jsd_pull(np.array(s), 0.5 ** (1 / 4))
        position += 0.25 * time / n_steps * (escape.grpo_drift(s, 4, 16) + float(pull))
    assert float(expit(position)) ** 4 == pytest.approx(0.1, rel=0.01)


def test_distillation_shortens_long_climbs_but_hardly_one_token_climbs():
    def ratio(tokens: int) -> float:
        return escape.Climb(tokens, weight=0.0).time(1e-6) / escape.Climb(tokens, weight=0.1).time(1e-6)

    assert ratio(8) > 100
    assert 1 < ratio(1) < 3


def test_simulated_groups_hold_a_success_and_the_right_odds():
    rng, token_success = np.random.default_rng(2), np.array([0.5, 0.4])
    groups = np.array([escape._group_with_a_success(token_success, 3, rng) for _ in range(4000)])
    correct = groups.all(axis=2).sum(axis=1)
    assert correct.min() == 1
    p = 0.2  # E[c | c ≥ 1] = 3p / (1 − (1 − p)³)
    assert abs(correct.mean() - 3 * p / (1 - 0.8**3)) < 4 * correct.std() / np.sqrt(4000)


def test_bad_cliff_input_is_named():
    with pytest.raises(UserError, match="success probability p"):
        cliff.cliff_probability(0.0, 16)
    with pytest.raises(UserError, match="group size G"):
        cliff.leave_one_out_advantages(np.zeros((1, 2)))
    with pytest.raises(UserError, match="step size η"):
        escape.Climb(tokens=1, weight=0.0, step_size=0.0)
