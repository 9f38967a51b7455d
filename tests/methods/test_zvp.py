"""RL-ZVP: advantages from the entropy of the tokens where the rewards of a group are equal."""

import pytest
import torch

from hdpo.methods.zvp import ZVP
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Rollouts
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Recorder, drawn

ALL = [1.0, 1, 1]


def test_the_step_is_grpos_with_an_advantage_for_each_token():
    trainer = Recorder(torch.tensor([ONE, CLIFF]), updates=2)
    ZVP(entropy_weight=0.1).step(trainer)
    assert [call[0] for call in trainer.calls] == ["draw", "sample", "score", *["update", "policy"] * 2]
    for _, rollouts, advantages, clip in trainer.of("policy"):
        assert rollouts == drawn("x0", "x1", group=3) and clip == 0.2
        assert advantages == pytest.approx([*OF_ONE, *CLIFF], rel=1e-4)  # each has one token, its own maximum


def test_advantages_by_hand():
    """α = 2. Two failed rollouts with entropies (1, 3) and (2), two passed ones with (1) and (4, 0)."""
    tokens = [torch.arange(length) for length in (2, 1, 1, 2)]
    rollouts = Rollouts(Sequences(tokens, tokens), torch.zeros(6), torch.tensor([1.0, 3, 2, 1, 4, 0]))
    found = ZVP(entropy_weight=2.0).of_tokens(rollouts, torch.tensor([[0.0, 0], [1, 1]]))
    assert found.tolist() == [-4, 0, 0, 2, 8, 0]


def test_the_gradient_weighs_each_token_by_its_entropy(make_trainer):
    trainer = hand.trainer(make_trainer, "zvp-0.5")
    _, found = hand.gradients(trainer, [CLIFF, ALL])
    rollouts = trainer.log.rollouts[0]
    entropies = rollouts.entropy.split(6)
    assert min(map(float, rollouts.entropy)) > 0
    failed = [-0.5 * (entropy.max() - entropy) for entropy in entropies[:3]]
    advantages = [*failed, *(0.5 * entropy for entropy in entropies[3:])]
    hand.assert_gradients(trainer, found, hand.reinforce(trainer, rollouts.sequences, advantages) / 36)


def test_where_all_groups_have_signal_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "zvp-0.5", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """No rollout is left out: 2·5 + 6·5 are drawn, and as many learned from."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "zvp-0.5"), [CLIFF, ALL])
    assert hand.tokens(record) == (36, 0, 40 + 40, 40)
