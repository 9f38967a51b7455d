"""The privileged proxy against its target."""

import numpy as np
import pytest
from scipy.stats import entropy

from hdpo.system.errors import UserError
from hdpo.theory import proxy_gap
from hdpo.theory.bandit import condition_on_success, example_bandit
from hdpo.theory.divergences import total_variation

STUDENT = np.log([0.1, 0.1, 0.8])
TEACHER = np.log([0.4, 0.1, 0.5])
REWARD = np.array([1.0, 1.0, 0.0])


def test_split_by_hand():
    # target (1/2, 1/2), proxy (4/5, 1/5): TV 0.3. p goes from 0.2 to 0.5; the single wrong arm leaks nothing.
    split = proxy_gap.leaked_information(STUDENT, TEACHER, REWARD)
    assert split["gap_tv"] == pytest.approx(0.3, rel=1e-12)
    assert split["gap"] == pytest.approx(entropy([0.8, 0.2], [0.5, 0.5]), rel=1e-12)
    assert split["correctness"] == pytest.approx(entropy([0.5, 0.5], [0.2, 0.8]), rel=1e-12)
    assert split["which wrong"] == 0
    assert split["total"] == pytest.approx(entropy([0.4, 0.1, 0.5], [0.1, 0.1, 0.8]), rel=1e-12)
    assert split["total"] == pytest.approx(split["correctness"] + 0.5 * split["gap"], rel=1e-12)


def test_tilting_the_target_gives_the_proxy():
    np.testing.assert_allclose(np.exp(proxy_gap.tilted_target(STUDENT, TEACHER, REWARD)), [0.8, 0.2, 0.0])


def test_an_answer_hint_leaks_without_a_gap_and_a_solution_hint_does_not():
    toy = example_bandit()
    for nats in (0.1, 1.0, 3.0):
        gaps = {}
        for share in (0.0, 1.0):
            hint = proxy_gap.hint_with_information(toy, nats, share)
            split = proxy_gap.leaked_information(toy.student_logp(), toy.teacher_logp(hint), toy.reward)
            assert split["total"] == pytest.approx(nats, rel=1e-9)
            gaps[share] = split["gap_tv"]
        assert gaps[0.0] < 1e-12
        assert gaps[1.0] > 0.1


def test_no_hint_buys_more_success_per_nat_than_the_answer():
    curve = proxy_gap.proxy_curve(np.array([0.5, 2.0]))
    by_share = curve.pivot(index="bits", columns="share", values="teacher_success")
    assert (by_share[0.0] > by_share[0.5]).all() and (by_share[0.5] > by_share[1.0]).all()


def test_a_hint_cannot_leak_more_than_it_can_say():
    # Naming the correct arms, which have p = 0.03, says at most −log 0.03 = 3.51 nats.
    with pytest.raises(UserError, match="leaked information must be below"):
        proxy_gap.hint_with_information(example_bandit(), 3.6, 0.0)


def test_averaging_exact_posteriors_gives_the_target_but_no_single_one_does():
    channel = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])  # P(h|y)
    average = proxy_gap.average_over_hints(STUDENT, channel, REWARD)
    np.testing.assert_allclose(average["mixture"], np.exp(condition_on_success(STUDENT, REWARD)), atol=1e-15)
    joint = 0.5 * channel[:2]  # P(y, h | R=1), both correct arms equally likely
    independent = np.outer([0.5, 0.5], joint.sum(axis=0))
    assert average["mutual information"] == pytest.approx(entropy(joint.ravel(), independent.ravel()), rel=1e-12)
    assert average["mean gap"] == pytest.approx(average["mutual information"], rel=1e-12)
    assert average["mean gap"] > 0.1


def test_bad_input_is_named():
    with pytest.raises(UserError, match="teacher must be normalised"):
        proxy_gap.tilted_target(STUDENT, TEACHER + 0.1, REWARD)
    with pytest.raises(UserError, match="hint channel"):
        proxy_gap.average_over_hints(STUDENT, np.full((3, 2), 0.4), REWARD)
    with pytest.raises(UserError, match="no correct arm"):
        proxy_gap.leaked_information(STUDENT, TEACHER, np.zeros(3))
    assert total_variation(STUDENT, TEACHER) == pytest.approx(0.3)
