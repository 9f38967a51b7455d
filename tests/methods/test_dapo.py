"""DAPO: P groups with signal, from as many draws as it takes or the cap allows, and a wider clip above 1."""

import pytest
import torch

from hdpo.methods.dapo import DAPO
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, OF_TWO, ONE, TWO
from helpers.recorder import Recorder, drawn

ALL = [1.0, 1, 1]


def learned(*rewards: list[list[float]], **parameters) -> tuple[Recorder, tuple]:
    trainer = Recorder(*map(torch.tensor, rewards))
    DAPO(**parameters).step(trainer)
    ((_, batch, advantages, _),) = trainer.of("policy")
    return trainer, (batch, advantages)


def test_groups_without_signal_are_dropped_and_others_drawn():
    trainer, (batch, advantages) = learned([ONE, CLIFF], [ALL, TWO])
    kinds = [call[0] for call in trainer.calls]
    assert kinds == [*["draw", "sample", "score"] * 2, "update", "policy"]
    assert trainer.of("sample") == [(["x0", "x1"],), (["y0", "y1"],)]
    assert batch == drawn("x0", "y1", group=3)
    assert advantages == [pytest.approx(OF_ONE, rel=1e-4), pytest.approx(OF_TWO, rel=1e-4)]


def test_the_first_groups_with_signal_are_taken_and_the_cap_holds():
    assert learned([CLIFF, ONE], [TWO, TWO])[1][0] == drawn("x1", "y0", group=3)
    assert learned([CLIFF, ONE], max_draws=1)[1][0] == drawn("x1", group=3)
    trainer, (batch, advantages) = learned([CLIFF, ALL], [ALL, CLIFF], max_draws=2)
    assert batch == drawn(group=3) and advantages == [] and trainer.of("update") == [()]


def test_the_gradient_is_over_the_groups_that_were_kept(make_trainer):
    trainer = hand.trainer(make_trainer, "dapo-3")
    _, found = hand.gradients(trainer, [CLIFF, ONE], [TWO, CLIFF])
    first, second = (rollouts.sequences for rollouts in trainer.log.rollouts)
    batch = first.select([3, 4, 5]) + second.select([0, 1, 2])
    hand.assert_gradients(trainer, found, hand.reinforce(trainer, batch, [*OF_ONE, *OF_TWO]) / 36)


def test_a_step_without_any_signal_has_no_gradient(make_trainer):
    record, found = hand.gradients(hand.trainer(make_trainer, "dapo-2"), [CLIFF, ALL], [CLIFF, ALL])
    assert all((gradient == 0).all() for gradient in found.values()) and record["loss"] == 0


def test_the_loss_of_a_token_by_hand():
    """ρ = 1.5 is clipped to 1.28 and ρ = 0.5 to 0.8; a sampler at half of π_old doubles the weight."""
    logp, old, advantages = torch.tensor([1.5, 0.5]).log(), torch.zeros(2), torch.tensor([1.0, -1.0])
    for cap, factor in ((None, 1), (3.0, 2)):
        found = DAPO(importance_cap=cap).surrogate(logp, old, old - torch.tensor(2.0).log(), advantages)
        assert found.tolist() == pytest.approx([-1.28 * factor, 0.8 * factor])


def test_with_grpos_clip_and_signal_everywhere_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "dapo-3+clip_high=0.2", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """Both draws read 2·5 + 6·5; the update too, for the two groups that are left."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "dapo-3"), [ONE, CLIFF], [CLIFF, TWO])
    assert hand.tokens(record) == (72, 0, 40 + 40 + 40, 40)


def test_too_few_problems(make_study, capsys):
    make_study(task__problems__train=23)
    assert "max_draws times train.prompts_per_step is more than task.problems.train" in hand.refusal(capsys, "dapo-3")
