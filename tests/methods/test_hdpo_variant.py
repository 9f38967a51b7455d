"""Variants of HDPO: with the defaults HDPO bit for bit, and each part changed by itself."""

import pytest
import torch

from hdpo.methods.hdpo_variant import HDPOVariant
from hdpo.run.train import train_run
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, PROBLEMS, TWO
from helpers.recorder import Recorder, Shown
from helpers.runs import assert_same, results, train_until_killed

RUN = "hdpo-variant-drifting-0.5"


def from_middle(p: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    return p * (p / middle).log() / 2


def test_the_step_shows_what_the_variant_says():
    for parameters, ids, shown in (
        ({}, ["x0", "x2"], ["x0?x0*", "x2?x2*"]),
        ({"hint": "none"}, ["x0", "x2"], ["x0?", "x2?"]),
        ({"hint": "other"}, ["x0", "x2"], ["x0?x1*", "x2?x3*"]),
        ({"prompts": "all", "max_cliffs": 3}, ["x0", "x1", "x2"], ["x0?x0*", "x1?x1*", "x2?x2*"]),
        ({"prompts": "hardest", "filtered": False}, ["x0", "x2"], ["x0?x0*", "x2?x2*"]),
    ):
        trainer = Recorder(torch.tensor([CLIFF, TWO, CLIFF, ONE]))
        HDPOVariant(distill_weight=0.5, **parameters).step(trainer)
        kinds = [call[0] for call in trainer.calls]
        assert kinds == ["draw", "sample", "score", "demonstrate", "update", "policy", "distill"]
        assert trainer.of("demonstrate") == [(ids, 4, shown, parameters.get("filtered", True))]
        assert trainer.of("distill") == [("divergence", Shown(tuple(ids)), 64, 0.5)]


def test_with_the_defaults_it_is_hdpo_bit_for_bit(make_trainer):
    for rest in ("drifting-0.5", "frozen-0.5+top_k=8+tail=paper", "frozen-0"):
        told = ([[1.0, 0, 0, 1]],) if "-0.5" in rest else ()
        hand.assert_same_bits(make_trainer, f"hdpo-variant-{rest}", f"hdpo-{rest}", [ONE, CLIFF], teacher=told)


@pytest.mark.parametrize(
    ("changed", "distance"),
    [
        ("privileged_rollouts=2+loss=forward", lambda p, q: p * (p / q).log()),
        ("privileged_rollouts=2+loss=reverse", lambda p, q: q * (q / p).log()),
        (
            "tail=none+privileged_rollouts=2",
            lambda p, q: (p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log()) / 2,
        ),
    ],
)
def test_the_gradient_of_another_divergence(make_trainer, changed, distance):
    """The teacher keeps its 8 likeliest tokens; without a tail the student's other tokens add nothing."""
    trainer = hand.trainer(make_trainer, f"{RUN}+top_k=8+{changed}")
    _, found = hand.gradients(trainer, [ONE, CLIFF], teacher=([[0.0, 1]],))
    shown = trainer.log.demonstrations[0]
    (student,), (teacher,) = hand.logits(trainer.policy, shown.student), hand.logits(trainer.policy, shown.teacher)
    top = teacher.detach().topk(8).indices
    p, q = teacher.detach().gather(1, top).softmax(1), student.softmax(1).gather(1, top)
    policy = hand.reinforce(trainer, trainer.log.rollouts[0].sequences, [*OF_ONE, *CLIFF]) / 36
    hand.assert_gradients(trainer, found, policy + 0.5 * distance(p, q).sum() / 6)


def test_another_problems_hint_is_shown_and_the_own_one_judged(make_trainer):
    """The teacher reads the hint of the next problem; the verifier is asked about the problem itself."""
    trainer, asked = hand.trainer(make_trainer, f"{RUN}+hint=other"), []
    trainer.teacher.scorer.task.judge = lambda problems, texts: asked.extend(problems) or ["wrong"] * len(texts)
    first = PROBLEMS[0]
    found = trainer.demonstrate([first], 2, [trainer.method.shown(trainer, first)], filtered=False)
    text = trainer.tokenizer.batch_decode([found.teacher.prompts[0].tolist()])
    assert text == ["1 2 > 3 ! 2 + 3 = 5 ?"] and asked == [first, first]
    assert len(found) == 2 and found.correct == 0 and found.ids == (first.id, first.id)
    assert trainer.method.shown(trainer, PROBLEMS[-1]) == "6 7 > 13 ! 1 + 2 = 3 ?"


def test_the_moving_average_by_hand(make_trainer):
    trainer = hand.trainer(make_trainer, "hdpo-variant-ema-0.5+ema_decay=0.9", train__optimizer__learning_rate=0.01)
    start = [weight.clone() for weight in trainer.policy.parameters()]
    expected = start
    for t in (0, 1):
        hand.step(trainer, [ONE, CLIFF], teacher=([[1.0, 0, 0, 1]],), t=t)
        now = list(trainer.policy.parameters())
        expected = [0.9 * old + 0.1 * new for old, new in zip(expected, now, strict=True)]
    for own, mean, old in zip(trainer.teacher.model.parameters(), expected, start, strict=True):
        assert torch.allclose(own, mean, rtol=1e-5, atol=1e-7) and not torch.allclose(own, old, rtol=1e-5, atol=1e-7)


def test_resumed_equals_uninterrupted_with_a_moving_average(make_run, monkeypatch):
    whole = make_run("hdpo-variant-ema-0.5+ema_decay=0.5")
    train_run(whole)
    expected = results(whole)
    run = make_run(whole.name, name="killed")
    train_until_killed(run, monkeypatch, 3)
    assert (run.state_folder / "step-000002/teacher.safetensors").is_file()
    train_run(run)
    assert_same(results(run), expected)
    assert sum(metrics["demonstrations"] for metrics in expected[0][3:]) > 0  # or the teacher would not matter


def test_tokens_without_a_hint_and_without_the_filter(make_trainer):
    """The teacher draws 5 + 2·5 and keeps both; it reads 2·(5 + 5), and so does the student."""
    trainer = hand.trainer(make_trainer, f"{RUN}+privileged_rollouts=2+hint=none+filtered=false")
    record, _ = hand.gradients(trainer, [ONE, CLIFF], teacher=([[0.0, 1]],))
    assert hand.tokens(record) == (36, 12, 40 + 15 + 20 + 20 + 20, 20 + 20)
    assert record["demonstrations"] == 2 and record["privileged_pass_rate"] == 0.5


def test_without_a_hint_a_drifting_teacher_pulls_by_its_cut_alone(make_trainer):
    """Over the whole vocabulary, a teacher that sees the same prompt is the student."""
    for top_k, pulls in ((8, True), (99, False)):
        trainer = hand.trainer(make_trainer, f"{RUN}+top_k={top_k}+privileged_rollouts=2+hint=none")
        record, _ = hand.gradients(trainer, [CLIFF, CLIFF], teacher=([[0.0, 1], [1, 1]],))
        assert (record["distill_loss"] > 1e-3) == (record["grad_norm_distill"] > 1e-3) == pulls


def test_what_cannot_be_and_what_needs_no_hint(make_study, make_trainer, base_folder, monkeypatch, capsys):
    make_study(model__dtype="bfloat16", model__implementation="transformers")
    assert "teacher: ema needs model.dtype float32" in hand.refusal(capsys, "hdpo-variant-ema-0.5")
    monkeypatch.setattr("hdpo.tasks.countdown.hint_text", lambda *_: "")
    make_study(model__path=str(base_folder))
    assert "needs hints, and 64 training problems have none" in hand.refusal(capsys, RUN)
    assert make_trainer(f"{RUN}+hint=none").step(0)["tokens"]["privileged"] > 0
