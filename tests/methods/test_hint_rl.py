"""RL with hints: all but one rollout of a cliff's group see the hint, and the gradient goes to that prompt."""

import pytest
import torch

from hdpo.methods.hint_rl import HintRL
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Drawn, Recorder

FAILURE, SUCCESS = OF_ONE[1], OF_ONE[0]


def test_the_step_draws_a_cliffs_group_again_with_the_hint_in_sight():
    trainer = Recorder(torch.tensor([CLIFF, ONE, CLIFF, CLIFF]), torch.tensor([[0.0, 1], [0, 0]]))
    HintRL(max_cliffs=2).step(trainer)
    kinds = [call[0] for call in trainer.calls]
    assert kinds == [*["draw", "sample", "score"], *["sample", "score"], "update", "policy"]
    assert trainer.of("sample")[1] == (["x0", "x2"], 2, "hinted")
    ((_, batch, advantages, _),) = trainer.of("policy")
    groups = "x0.0 x0!0 x0!1", "x1.0 x1.1 x1.2", "x2.0 x2!0 x2!1", "x3.0 x3.1 x3.2"
    assert batch == Drawn(tuple(" ".join(groups).split()))
    assert advantages[0] == pytest.approx([FAILURE, FAILURE, SUCCESS], rel=1e-4)
    assert advantages[1] == pytest.approx(OF_ONE, rel=1e-4) and advantages[2:] == [CLIFF, CLIFF]


def test_the_gradient_goes_to_the_prompt_with_the_hint(make_trainer):
    trainer = hand.trainer(make_trainer, "hint-rl-4")
    _, found = hand.gradients(trainer, [ONE, CLIFF], [[1.0, 0]])
    plain, hinted = (rollouts[0].sequences for rollouts in (trainer.log.rollouts, trainer.log.hinted))
    shown = hand.with_hint(trainer, hand.drawn()[1], hinted)
    assert all(map(torch.equal, shown.prompts, hinted.prompts)) and len(shown.prompts[0]) == 11
    batch = plain.select([0, 1, 2, 3]) + shown
    hand.assert_gradients(trainer, found, hand.reinforce(trainer, batch, [*OF_ONE, FAILURE, SUCCESS, FAILURE]) / 36)


def test_where_all_groups_have_signal_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "hint-rl-4", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5, and 11 + 2·5 with the hint; learned 5 + 3·5, and 5 + 5 and 11 + 2·5 of the cliff."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "hint-rl-4"), [ONE, CLIFF], [[1.0, 0]])
    assert hand.tokens(record) == (36, 12, 40 + 21 + 20 + 10 + 21, 20 + 10 + 21)
