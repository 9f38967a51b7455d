"""More rollouts: rounds until a success or the end of the budget, and the baseline of the whole pool."""

import math

import pytest
import torch

from hdpo.methods.more_rollouts import MoreRollouts
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Drawn, Recorder


def test_a_cliff_is_sampled_again_until_one_rollout_succeeds():
    """x1 succeeds in the third round, at the last of its 8 rollouts: the success and the first two failures are kept.

    A failure of the pool sees 1 success among 7: b = 1/7, std² = (1/7 − 1/49)·7/6 = 1/7, A = −1/√7.
    """
    trainer = Recorder(torch.tensor([ONE, CLIFF]), torch.tensor([CLIFF]), torch.tensor([[0.0, 1]]))
    MoreRollouts(budget=5).step(trainer)
    assert trainer.of("sample") == [(["x0", "x1"],), (["x1"], 3), (["x1"], 2)]
    ((_, batch, advantages, _),) = trainer.of("policy")
    assert batch == Drawn(("x0.0", "x0.1", "x0.2", "x1.0", "x1.1", "x1.7"))
    assert advantages[0] == pytest.approx(OF_ONE, rel=1e-4)
    assert advantages[1] == pytest.approx([-1 / math.sqrt(7), -1 / math.sqrt(7), 1], rel=1e-4)


def test_a_spent_budget_leaves_a_cliff_and_max_cliffs_bounds_the_rounds():
    """x0 and x1 are tried again, x0 alone after its success of x1; x2 is never."""
    rewards = [CLIFF, CLIFF, CLIFF], [CLIFF, TWO], [[0.0]]
    trainer = Recorder(*map(torch.tensor, rewards))
    MoreRollouts(budget=4, max_cliffs=2).step(trainer)
    assert trainer.of("sample")[1:] == [(["x0", "x1"], 3), (["x0"], 1)]
    ((_, batch, advantages, _),) = trainer.of("policy")
    assert batch == Drawn(tuple(f"x{i}.{j}" for i, kept in enumerate(("012", "034", "012")) for j in kept))
    assert advantages[0] == advantages[2] == CLIFF and advantages[1][0] < 0 < advantages[1][1]


def test_the_gradient_is_that_of_the_pool(make_trainer):
    """The cliff's pool of 6 has its one success in the second round: a failure has A = −1/√5."""
    trainer = hand.trainer(make_trainer, "more-rollouts-3")
    _, found = hand.gradients(trainer, [ONE, CLIFF], [ONE])
    first, second = (rollouts.sequences for rollouts in trainer.log.rollouts)
    batch = first.select([0, 1, 2, 3, 4]) + second.select([0])
    failure = -1 / math.sqrt(5)
    hand.assert_gradients(trainer, found, hand.reinforce(trainer, batch, [*OF_ONE, failure, failure, 1]) / 36)


def test_where_all_groups_have_signal_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "more-rollouts-3", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """The first round reads 2·5 + 6·5, the second 5 + 3·5; the update 2·5 + 6·5."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "more-rollouts-3"), [ONE, CLIFF], [ONE])
    assert hand.tokens(record) == (36 + 18, 0, 40 + 20 + 40, 40)
    assert record["reward"] == pytest.approx(1 / 6)  # of the first rollouts, as every method's
