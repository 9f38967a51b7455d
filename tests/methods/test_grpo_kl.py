"""GRPO with a reference KL: the pull is β times the KL over the whole vocabulary, on every token of every rollout."""

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from hdpo.learning.teacher import Pairs
from hdpo.methods.grpo_kl import GRPOKL
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE
from helpers.recorder import Recorder, drawn


def test_the_step_adds_a_pull_on_all_rollouts_to_grpo():
    trainer = Recorder(torch.tensor([ONE, CLIFF]), updates=2)
    GRPOKL(kl_weight=0.5, top_k=7, baseline="mean", normalize_advantages=False).step(trainer)
    rollouts = drawn("x0", "x1", group=3)
    assert [call[0] for call in trainer.calls] == ["draw", "sample", "score", *["update", "policy", "distill"] * 2]
    advantages = torch.tensor([[2 / 3, -1 / 3, -1 / 3], CLIFF])
    assert torch.allclose(torch.tensor(trainer.of("policy")[0][2]), advantages)
    assert trainer.of("distill") == [("reverse_kl", Pairs(rollouts, rollouts), 7, 0.5, "kl")] * 2


def test_the_gradient_is_grpos_and_that_of_the_divergence_from_the_base(make_trainer):
    trainer = hand.trainer(make_trainer, "grpo-kl-0.5")
    assert trainer.teacher.model is not trainer.policy
    with torch.no_grad():
        for weight in trainer.policy.parameters():
            weight.mul_(1.1)
    record, found = hand.gradients(trainer, [ONE, CLIFF])
    sequences = trainer.log.rollouts[0].sequences
    pairs = zip(hand.logits(trainer.policy, sequences), hand.logits(trainer.teacher.model, sequences), strict=True)
    pull = sum(kl_divergence(Categorical(logits=own), Categorical(logits=base.detach())).sum() for own, base in pairs)
    policy = hand.reinforce(trainer, sequences, [*OF_ONE, *CLIFF])
    hand.assert_gradients(trainer, found, (policy + 0.5 * pull) / 36)
    assert record["kl_loss"] == pytest.approx(pull.item() / 36, rel=1e-4) and record["kl_loss"] > 0.01


def test_beside_the_base_nothing_pulls(make_trainer):
    record, found = hand.gradients(hand.trainer(make_trainer, "grpo-kl-0.5"), [CLIFF, CLIFF])
    assert abs(record["kl_loss"]) < 1e-6
    assert all(gradient.abs().max() < 1e-5 for gradient in found.values())


def test_tokens(make_trainer):
    """Drawn: 2 prompts of 5, and 5 of the 6 tokens of each rollout, 40. Learned: 5 + 3·5 = 20 of the first group, and
    all 6 rollouts whole, 60, which the reference reads as well."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "grpo-kl-0.5"), [ONE, CLIFF])
    assert hand.tokens(record) == (36, 0, 40 + 20 + 60 + 60, 20 + 60)
