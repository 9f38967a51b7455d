"""GRPO: its step in order, its advantages, and its loss."""

import math

import pytest
import torch

from hdpo.methods.grpo import GRPO
from hdpo.system.errors import UserError
from helpers.recorder import Recorder, drawn
from helpers.steps import gradients, sample

ROOT3 = math.sqrt(3)  # one success among G = 4: its others have b = std = 0, a failure's b = 1/3 and std = 1/√3


def test_the_step_reads_as_the_algorithm():
    """Draw, sample, score, and one policy term in each update; a cliff has advantage 0 and no teacher is asked."""
    trainer = Recorder(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]), updates=2)
    GRPO(clip=0.3).step(trainer)
    problems, rollouts = ["x0", "x1"], drawn("x0", "x1", group=4)
    assert trainer.calls[:3] == [("draw",), ("sample", problems), ("score", problems, rollouts)]
    assert [call[0] for call in trainer.calls[3:]] == ["update", "policy"] * 2
    for name, loss, learned, advantages, clip in trainer.calls[4::2]:
        assert (name, loss, learned, clip) == ("policy", "surrogate", rollouts, 0.3)
        assert advantages[0] == pytest.approx([1.0, -1 / ROOT3, -1 / ROOT3, -1 / ROOT3], rel=1e-4)
        assert advantages[1] == [0.0] * 4


def test_advantages_follow_baseline_and_normalisation():
    rewards = torch.tensor([[1.0, 0, 0, 0]])
    plain = GRPO(normalize_advantages=False).advantages(rewards)
    assert plain.tolist() == [pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])]
    mean = GRPO(baseline="mean", normalize_advantages=False).advantages(rewards)
    assert mean.tolist() == [pytest.approx([0.75, -0.25, -0.25, -0.25])]
    normal = GRPO(baseline="mean").advantages(rewards)  # unbiased deviation: √(1/4)
    assert normal.tolist() == [pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-4)]


def test_the_loss_of_a_token_by_hand():
    """ρ = 1.5 is clipped to 1.2. A sampler at half of π_old counts double, and at most the cap."""
    logp, old, sampler = (torch.tensor([value]).log() for value in (0.3, 0.2, 0.1))
    for cap, expected in ((None, -1.2), (1.5, -1.8), (3.0, -2.4)):
        found = GRPO(clip=0.2, importance_cap=cap).surrogate(logp, old, sampler, torch.tensor([1.0]))
        assert found.tolist() == pytest.approx([expected], rel=1e-5)


def test_on_a_cliff_the_gradient_is_exactly_zero(make_trainer):
    trainer = make_trainer("grpo")
    advantages = trainer.method.advantages(torch.zeros(4, 4))
    assert all((gradient == 0).all() for gradient in gradients(trainer, sample(trainer), advantages).values())


def test_two_rollouts_have_no_leave_one_out_deviation(make_study):
    study = {"train__rollouts_per_prompt": 2, "methods": ["grpo"]}
    with pytest.raises(UserError, match=r"train\.rollouts_per_prompt must be at least 3"):
        make_study(**study)
    make_study(**study | {"methods": [{"method": "grpo", "baseline": "mean"}]})
    with pytest.raises(UserError, match=r"run 'grpo', seed 1: .*at least 3"):
        make_study(**study | {"methods": [{"method": "grpo", "baseline": "mean"}]}).run("grpo", 1)
