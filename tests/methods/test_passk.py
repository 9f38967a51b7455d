"""PKPO: the estimator of ∇pass@k is unbiased, and k = 1 is GRPO without division."""

from itertools import product

import pytest
import torch

from hdpo.learning.advantages import pass_at_k_advantages, pass_at_k_rewards
from hdpo.methods.passk import PassK
from helpers import hand
from helpers.hand import CLIFF, ONE, TWO
from helpers.recorder import Recorder, drawn


def test_the_step_is_grpos_with_other_advantages():
    trainer = Recorder(torch.tensor([ONE, CLIFF]))
    PassK(k=2).step(trainer)
    assert [call[0] for call in trainer.calls] == ["draw", "sample", "score", "update", "policy"]
    # A success beside two failures: r = 1, and the others' pass@2 is 0. A failure: one other is right with chance 1/2,
    # and the others' pass@2 is 1. Both times k = 2.
    ((_, batch, advantages, _),) = trainer.of("policy")
    assert batch == drawn("x0", "x1", group=3) and advantages == [[2, -1, -1], [0, 0, 0]]


@pytest.mark.parametrize(("n", "k"), [(3, 1), (3, 2), (4, 2), (4, 3), (5, 3)])
def test_the_gradient_of_pass_at_k_is_met_on_average(n, k):
    """Over all outcomes of n draws from a bandit of three arms, of which one is right."""
    theta = torch.tensor([0.3, -0.2, 0.5], dtype=torch.double, requires_grad=True)
    right = torch.tensor([1.0, 0, 0], dtype=torch.double)
    logp = theta.log_softmax(0)
    (expected,) = torch.autograd.grad(1 - (1 - logp[0].exp()) ** k, theta, retain_graph=True)
    outcomes = torch.tensor(list(product(range(3), repeat=n)))  # [3ⁿ, n]
    chances = logp.detach()[outcomes].sum(1).exp()
    for weights in (pass_at_k_rewards(right[outcomes], k), pass_at_k_advantages(right[outcomes], k) / n):
        estimate = (chances[:, None] * weights * logp[outcomes]).sum()
        (found,) = torch.autograd.grad(estimate, theta, retain_graph=True)
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n", [3, 7, 16, 49])
def test_uniform_groups_have_exactly_no_advantage(n):
    for k in range(1, n):
        assert pass_at_k_advantages(torch.tensor([[0.0] * n, [1.0] * n]), k).abs().max() == 0
    for k, of_pairs in ((0, pass_at_k_rewards), (n + 1, pass_at_k_rewards), (n, pass_at_k_advantages)):
        with pytest.raises(ValueError, match="k: expected 1 to"):
            of_pairs(torch.zeros(1, n), k)


def test_the_gradient_is_that_of_the_advantages(make_trainer):
    """Two successes of three: the others of a success have pass@2 = 1, as has the success itself; a failure is in no
    set that it could lift. With k = 2, signal is where one rollout alone is right."""
    trainer = hand.trainer(make_trainer, "passk-2")
    _, found = hand.gradients(trainer, [ONE, TWO])
    sequences = trainer.log.rollouts[0].sequences
    hand.assert_gradients(trainer, found, hand.reinforce(trainer, sequences, [2, -1, -1, 0, 0, 0]) / 36)


def test_k_1_is_grpo_without_division_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "passk-1", "grpo+normalize_advantages=false", [ONE, TWO])


def test_tokens(make_trainer):
    """As GRPO's: 2·5 + 6·5 drawn, and 5 + 3·5 of the group with signal learned from."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "passk-2"), [ONE, CLIFF])
    assert hand.tokens(record) == (36, 0, 40 + 20, 20)


@pytest.mark.parametrize("run", ["passk-8", "passk-9", "passk-2+normalize_advantages=true", "passk-2+baseline=mean"])
def test_what_cannot_be(make_study, capsys, run):
    make_study()
    line = hand.refusal(capsys, run)
    assert ("k must be smaller than train.rollouts_per_prompt" in line) == ("=" not in run)
