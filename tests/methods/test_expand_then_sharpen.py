"""Expand, then sharpen: HDPO, and distilled cliffs come back after a delay."""

import json

import torch

from hdpo.methods.expand_then_sharpen import ExpandThenSharpen
from hdpo.run.train import train_run
from helpers import hand
from helpers.hand import CLIFF, ONE
from helpers.recorder import Recorder
from helpers.runs import assert_same, results, train_until_killed

RUN = "expand-then-sharpen-drifting-0.5"


def test_distilled_cliffs_are_noted_and_come_back_in_place_of_the_last_fresh_prompts():
    """x0 returns at step 7, x1 when it was due already, and x2, which was not distilled, never. At step 5 y0 and z0 are
    due, and one place is theirs."""
    method = ExpandThenSharpen(distill_weight=0.5, delay=4, returning=1)
    trainer = Recorder(torch.tensor([CLIFF, CLIFF, CLIFF]), unsolved=("x2",))
    trainer.t, trainer.memory = 3, {"y0": 5, "z0": 5, "x1": 6}
    method.step(trainer)
    kinds = [call[0] for call in trainer.calls]
    assert kinds == ["draw", "sample", "score", "demonstrate", "update", "policy", "distill"]
    assert trainer.of("sample") == [(["x0", "x1", "x2"],)] and trainer.of("demonstrate") == [(["x0", "x1", "x2"], 4)]
    assert trainer.memory == {"y0": 5, "z0": 5, "x1": 6, "x0": 7}

    later = Recorder(torch.tensor([ONE, ONE, CLIFF]))
    later.t, later.memory = 5, trainer.memory
    method.step(later)
    assert later.of("sample") == [(["x0", "x1", "y0"],)]
    assert later.memory == {"z0": 5, "x1": 6, "x0": 7, "y0": 9}  # a cliff again, and distilled again


def test_a_returning_prompt_that_is_drawn_as_well_is_there_once():
    trainer = Recorder(torch.tensor([ONE, ONE, ONE]))
    trainer.memory = {"x0": 0, "z1": 0}
    ExpandThenSharpen(distill_weight=0.5).step(trainer)
    assert trainer.of("sample") == [(["x1", "x0", "z1"],)] and trainer.memory == {}


def test_until_a_prompt_returns_it_is_hdpo_bit_for_bit(make_trainer):
    options = {"steps": (0, 1), "teacher": ([[1.0, 0, 0, 1]],)}
    hand.assert_same_bits(make_trainer, f"{RUN}+delay=2+returning=2", "hdpo-drifting-0.5", [ONE, CLIFF], **options)
    hand.assert_same_bits(make_trainer, "expand-then-sharpen-drifting-0+returning=2", "grpo", [ONE, CLIFF])


def test_the_gradient_of_a_returned_prompt_is_hdpos(make_trainer):
    """The second step's batch is a fresh prompt and the first step's cliff; HDPO is given the same two."""
    options = {"teacher": ([[0.0, 1]],), "t": 1}
    trainer = hand.trainer(make_trainer, f"{RUN}+privileged_rollouts=2+delay=1+returning=1")
    trainer.memory = {hand.drawn()[1].id: 1}
    _, found = hand.gradients(trainer, [ONE, CLIFF], **options)
    other = hand.trainer(make_trainer, "hdpo-drifting-0.5+privileged_rollouts=2")
    other.draw = lambda: [hand.drawn(t=1)[0], hand.drawn()[1]]
    _, expected = hand.gradients(other, [ONE, CLIFF], **options)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert trainer.memory == {hand.drawn()[1].id: 2}


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5, and 11 + 2·5 by the teacher; learned 5 + 3·5, and 5 + 5 of the one demonstration, of which the
    teacher reads 11 + 5."""
    trainer = hand.trainer(make_trainer, f"{RUN}+privileged_rollouts=2+returning=2")
    record, _ = hand.gradients(trainer, [ONE, CLIFF], teacher=([[0.0, 1]],))
    assert hand.tokens(record) == (36, 12, 40 + 21 + 20 + 10 + 16, 20 + 10)


def test_resumed_equals_uninterrupted(make_run, monkeypatch):
    """The queue holds prompts where training is killed, and some of them return afterwards."""
    name = f"{RUN}+delay=2"
    whole = make_run(name)
    train_run(whole)
    expected = results(whole)
    run = make_run(name, name="killed")
    train_until_killed(run, monkeypatch, 3)
    queue = json.loads((run.state_folder / "step-000002/method.json").read_text())
    assert 2 in queue.values() and 3 in queue.values()
    train_run(run)
    assert_same(results(run), expected)
    without = make_run("hdpo-drifting-0.5", name="without")
    train_run(without)
    assert results(without)[0][:2] == expected[0][:2] and results(without)[0][2] != expected[0][2]  # they do return


def test_more_returning_prompts_than_places(make_study, capsys):
    make_study()
    assert "returning is larger than train.prompts_per_step" in hand.refusal(capsys, f"{RUN}+returning=9")
