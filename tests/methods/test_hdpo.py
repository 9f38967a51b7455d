"""HDPO: its step is the paper's Algorithm 1, and with λ = 0 it is GRPO bit for bit."""

import math

import pytest
import torch

from hdpo.methods.hdpo import HDPO
from helpers.recorder import Recorder, Shown, drawn
from helpers.steps import correct_demonstrations, gradients, sample, timeless


def test_the_step_reads_as_algorithm_1():
    """Of four prompts the second, third and fourth are cliffs; the teacher is shown the first two of those."""
    trainer = Recorder(torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]), updates=2)
    HDPO(distill_weight=0.5, top_k=7, privileged_rollouts=5, max_cliffs=2).step(trainer)
    problems = ["x0", "x1", "x2", "x3"]
    rollouts = drawn(*problems, group=3)
    assert trainer.calls[:4] == [
        ("draw",),
        ("sample", problems),
        ("score", problems, rollouts),
        ("demonstrate", ["x1", "x2"], 5),
    ]
    assert [call[0] for call in trainer.calls[4:]] == ["update", "policy", "distill"] * 2
    # A success of three has others with b = std = 0; a failure's other two have b = 1/2, std = √(1/2).
    failure = -math.sqrt(1 / 2)
    for name, loss, learned, advantages, clip in trainer.calls[5::3]:
        assert (name, loss, learned, clip) == ("policy", "surrogate", rollouts, 0.2)
        assert advantages == [pytest.approx([1.0, failure, failure], rel=1e-4), *[[0.0] * 3] * 3]
    assert trainer.calls[6::3] == [("distill", "divergence", Shown(("x1", "x2")), 7, 0.5)] * 2


def test_a_solved_prompt_is_no_cliff():
    trainer = Recorder(torch.tensor([[1.0, 1, 1], [1, 0, 0]]))
    HDPO(distill_weight=0.5).step(trainer)
    assert ("demonstrate", [], 4) in trainer.calls


@pytest.mark.parametrize(("tail", "expected"), [("exact", 0.5), ("paper", 1.0)])
def test_the_divergence_of_a_token_by_hand(tail, expected):
    """The teacher keeps token 0 only, P = (1, 0); the student has Q = (1/2, 1/2), so M = (3/4, 1/4).

    Inside the top 1: (1·ln(1 / ¾) + ½·ln(½ / ¾)) / 2. Outside: ½·½·ln 2, or without the half as printed.
    """
    inside = (math.log(4 / 3) + 0.5 * math.log(2 / 3)) / 2
    found = HDPO(distill_weight=1.0, tail=tail).divergence(
        torch.zeros(1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)
    )
    assert found.tolist() == pytest.approx([inside + expected * 0.5 * math.log(2)], rel=1e-6)


def test_on_a_cliff_grpo_has_no_gradient_and_hdpo_has_one(make_trainer):
    trainer = make_trainer()
    rollouts, advantages = sample(trainer), trainer.method.advantages(torch.zeros(4, 4))
    grpo = gradients(trainer, rollouts, advantages)
    assert all((gradient == 0).all() for gradient in grpo.values())
    hdpo = gradients(make_trainer(), rollouts, advantages, correct_demonstrations(trainer))
    assert all(gradient.abs().max() > 0 for gradient in hdpo.values())


def test_lambda_zero_is_grpo_bit_for_bit_and_loads_no_teacher(make_trainer, trained_base):
    grpo, zero, hdpo = (
        make_trainer(run, model__path=str(trained_base)) for run in ("grpo", "hdpo-frozen-0", "hdpo-frozen-1")
    )
    assert zero.teacher is None and zero.method.teacher_kind is None and zero.method.privileged_draw == (0, 0)
    assert grpo.run.hash != zero.run.hash  # equal, but each a run of its own
    records = [[timeless(trainer.step(step)) for step in range(3)] for trainer in (grpo, zero)]
    same = records[0][0].keys()  # HDPO also logs its second term, which is 0
    assert [{key: record[key] for key in same} for record in records[1]] == records[0]
    assert all(record["distill_loss"] == record["grad_norm_distill"] == 0 for record in records[1])
    assert any(record["grad_norm"] > 0 for record in records[0])  # or equality would prove nothing
    for a, b in zip(grpo.policy.parameters(), zero.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert sum(hdpo.step(step)["demonstrations"] for step in range(3)) > 0  # λ > 0 does differ
    pairs = zip(grpo.policy.parameters(), hdpo.policy.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("teacher", ["drifting", "frozen"])
def test_a_positive_lambda_asks_for_its_teacher(teacher):
    method = HDPO(teacher=teacher, distill_weight=1e-9, max_cliffs=3, privileged_rollouts=2)
    assert method.teacher_kind == teacher and method.privileged_draw == (3, 2)
