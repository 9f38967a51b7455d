"""LUFFY: y* in place of one failed rollout of a cliff, weighted by π / (π + γ) and not clipped."""

import math

import pytest
import torch

from hdpo.methods.luffy import LUFFY
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Recorder

FAILURE = -math.sqrt(0.5)


def test_the_step_puts_the_reference_in_place_of_the_last_rollout():
    trainer = Recorder(torch.tensor([CLIFF, ONE, CLIFF, CLIFF]), updates=2)
    LUFFY(max_cliffs=2).step(trainer)
    kinds = [call[0] for call in trainer.calls]
    assert kinds == ["draw", "sample", "score", "references", *["update", "policy", "imitate"] * 2]
    assert trainer.of("references") == [(["x0", "x2"],)]
    guided = pytest.approx([FAILURE, FAILURE, 0], rel=1e-4)
    for _, _, advantages, _ in trainer.of("policy"):
        assert advantages == [guided, pytest.approx(OF_ONE, rel=1e-4), guided, CLIFF]
    # The reference's advantage is 1, and its sum is divided by the 12 tokens of the rollouts.
    assert trainer.of("imitate") == [("guidance", ("x0*", "x2*"), 1.0, 12, "guidance")] * 2


def test_the_loss_of_a_token_by_hand():
    """π = γ = 0.1: −1/2, and its derivative by log π is −γ π / (π + γ)² = −1/4."""
    logp = torch.tensor([0.1]).log().requires_grad_()
    loss = LUFFY(shaping=0.1).guidance(logp)
    loss.sum().backward()
    assert loss.item() == pytest.approx(-0.5) and logp.grad.item() == pytest.approx(-0.25)


def test_the_gradient_is_that_of_rollouts_and_reference(make_trainer):
    trainer = hand.trainer(make_trainer, "luffy-0.1")
    record, found = hand.gradients(trainer, [ONE, CLIFF])
    policy = hand.reinforce(trainer, trainer.log.rollouts[0].sequences, [*OF_ONE, FAILURE, FAILURE, 0])
    (of_reference,) = hand.logp(trainer.policy, hand.reference(trainer, hand.drawn()[1]))
    chance = of_reference.exp()
    hand.assert_gradients(trainer, found, (policy - (chance / (chance + 0.1)).sum()) / 36)
    assert record["reward"] == pytest.approx(1 / 6)  # of the rollouts: y* is not one of them


def test_where_all_groups_have_signal_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "luffy-0.1", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5; learned 5 + 3·5 of the first group, 5 + 2·5 of the second, and 5 + 5 of the reference."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "luffy-0.1"), [ONE, CLIFF])
    assert hand.tokens(record) == (36, 0, 40 + 20 + 15 + 10, 20 + 15 + 10)
