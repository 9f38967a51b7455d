"""Checkpoints and resuming: the same bytes as without the interruption, and nothing doubtful is used."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from hdpo.learning.trainer import Trainer
from hdpo.run.checkpoint import load_checkpoint
from hdpo.run.evaluate import require_same_run
from hdpo.run.train import train_run
from hdpo.system.errors import UserError
from hdpo.system.files import write_atomic


@pytest.fixture
def make_run(make_study, trained_base):
    def make(run: str = "hdpo-frozen-0.1", **changes):
        return make_study(
            **{"model__path": str(trained_base), "train__checkpoint_every": 2, "evaluate__every": 2}
            | {"train__steps": 5}
            | changes
        ).run(run, 1)

    return make


def results(run) -> tuple:
    """Everything a finished run leaves behind, timings and provenance aside."""
    metrics = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for record in metrics:
        record.pop("seconds"), record.pop("tokens_per_second")
    return metrics, (run.folder / "evals.parquet").read_bytes(), load_file(run.folder / "model/model.safetensors")


class Killed(Exception):
    """Stands for a SIGKILL: nothing of the program runs after it."""


def kill_at(monkeypatch, step: int) -> None:
    before = Trainer.step

    def dying(self, now):
        if now == step:
            raise Killed
        return before(self, now)

    monkeypatch.setattr(Trainer, "step", dying)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["grpo", "hdpo-frozen-0.1"])
def test_resumed_equals_uninterrupted(make_run, monkeypatch, step, name):
    run = make_run(name)
    train_run(run)
    metrics, evals, weights = results(run)
    assert {record["grad_norm"] > 0 for record in metrics} == {True}  # or equality would prove nothing
    assert name == "grpo" or sum(record["demonstrations"] for record in metrics) > 0
    run = make_run(name, name="other")  # the same training under another results folder
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            train_run(run)
    assert not run.folder.exists()  # no half result
    train_run(run)
    again, evals_again, weights_again = results(run)
    assert again == metrics
    assert evals_again == evals
    assert weights.keys() == weights_again.keys()
    assert all(torch.equal(weights[key], weights_again[key]) for key in weights)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["resumed_after_step"] == step // 2 * 2
    assert [record["step"] for record in again] == [0, 1, 2, 3, 4]
    assert record["tokens"]["rollout"] == sum(step["tokens"]["rollout"] for step in metrics) > 0


def test_resumed_equals_uninterrupted_in_bfloat16(make_run, monkeypatch):
    model = {"model__dtype": "bfloat16", "model__implementation": "transformers"}
    short = model | {"train__steps": 3, "train__checkpoint_every": 1, "evaluate__every": 3}
    run = make_run(**short)
    train_run(run)
    whole = results(run)
    assert {record["grad_norm"] > 0 for record in whole[0]} == {True}
    run = make_run(name="killed", **short)
    with monkeypatch.context() as patch:
        kill_at(patch, 2)
        with pytest.raises(Killed):
            train_run(run)
    train_run(run)
    again = results(run)
    assert json.loads((run.folder / "run.json").read_text())["resumed_after_step"] == 2
    assert again[:2] == whole[:2]
    assert all(torch.equal(again[2][key], whole[2][key]) for key in whole[2])
    assert {weight.dtype for weight in whole[2].values()} == {torch.bfloat16}  # the model, as the study says
    saved = load_file(run.state_folder / "step-000003/policy.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    lost = sum(int((weight != weight.bfloat16()).sum()) for weight in saved.values())
    assert lost > 0.5 * sum(weight.numel() for weight in saved.values())  # or float32 would hold nothing more


def test_sigkill_of_the_command_at_any_moment(make_run, tmp_path):
    """The real thing: `hdpo train` in its own process, killed, then left to finish; tests/torture does it at length."""
    run = make_run("hdpo-drifting-0.1", train__steps=12)
    command = [sys.executable, "-m", "hdpo.cli", "train", "study.yaml", "--run", run.name, "--seed", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    metrics, kills = run.state_folder / "metrics.jsonl", 0
    for target in (5,):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") <= target):
            time.sleep(0.001)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills == 1
    assert not run.folder.exists()
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    interrupted = results(run)
    train_run(make_run("hdpo-drifting-0.1", train__steps=12, name="whole"))
    whole = results(make_run("hdpo-drifting-0.1", train__steps=12, name="whole"))
    assert interrupted[:2] == whole[:2]
    assert all(torch.equal(interrupted[2][key], whole[2][key]) for key in whole[2])


def test_a_finished_run_trained_again_changes_nothing(make_run):
    run = make_run()
    train_run(run)
    before = results(run)
    train_run(run)
    after = results(run)
    assert before[:2] == after[:2]


def damage(path, how: str) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "altered":
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif how == "missing":
        path.unlink()


FILES = ("policy.safetensors", "optimizer.safetensors", "metrics.jsonl", "evals.parquet", "state.json")


@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
@pytest.mark.parametrize("file", FILES)
def test_damaged_checkpoint_is_named_and_the_one_before_it_used(make_run, capsys, file, how):
    run = make_run()
    train_run(run)
    before = results(run)
    newest = sorted(run.state_folder.glob("step-*"))[-1]
    damage(newest / file, how)
    capsys.readouterr()
    train_run(run)
    printed = capsys.readouterr()
    assert f"hdpo: damaged checkpoint: {newest}" in printed.err and "going on from step-000004" in printed.err
    assert "resuming after step 4" in printed.out
    after = results(run)
    assert after[:2] == before[:2]
    assert all(torch.equal(after[2][key], before[2][key]) for key in before[2])


@pytest.mark.parametrize(("old", "new"), [('"step": 5', '"step": 4'), ('"sha256"', '"sha257"'), ('"files"', '"file"')])
def test_altered_state_of_a_checkpoint_is_noticed(make_run, capsys, old, new):
    run = make_run()
    train_run(run)
    state = run.state_folder / "step-000005/state.json"
    assert old in state.read_text()
    state.write_text(state.read_text().replace(old, new))
    train_run(run)
    assert "step-000005: removed; going on from step-000004" in capsys.readouterr().err


def test_no_good_checkpoint_is_refused_and_left_alone(make_run):
    run = make_run()
    train_run(run)
    for folder in run.state_folder.glob("step-*"):
        damage(folder / "policy.safetensors", "altered")
    before = {path: path.read_bytes() for path in run.state_folder.rglob("*/*") if path.is_file()}
    with pytest.raises(UserError, match=r"no usable checkpoint \(2 damaged\); delete that folder"):
        train_run(run)
    assert before == {path: path.read_bytes() for path in run.state_folder.rglob("*/*") if path.is_file()}


def test_checkpoint_of_another_config_is_refused(make_run, capsys):
    run = make_run()
    train_run(run)
    other = make_run(train__clip=0.3)
    assert other.hash != run.hash
    trainer = Trainer(other)
    with pytest.raises(UserError, match="no usable checkpoint"):
        load_checkpoint(run.state_folder, other.hash, trainer.weights, trainer.optimizer)
    assert "belongs to another config" in capsys.readouterr().err


def test_what_lies_beside_a_checkpoint_is_not_trusted(make_run, monkeypatch):
    run = make_run()
    with monkeypatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            train_run(run)
    metrics = run.state_folder / "metrics.jsonl"
    metrics.write_bytes(b"half a li" + metrics.read_bytes()[:40])
    train_run(run)
    assert [record["step"] for record in results(run)[0]] == [0, 1, 2, 3, 4]


def test_a_changed_result_is_refused_where_it_is_read(make_run):
    run = make_run()
    train_run(run)
    require_same_run(run)
    for file in (run.folder / "model/model.safetensors", run.folder / "metrics.jsonl", run.folder / "evals.parquet"):
        whole = file.read_bytes()
        damage(file, "altered")
        with pytest.raises(UserError, match=rf"{file.name}: missing, truncated or altered"):
            require_same_run(run)
        file.write_bytes(whole)
    record = run.folder / "run.json"
    record.write_text(record.read_text().replace('"seconds": ', '"seconds": 9'))
    with pytest.raises(UserError, match=r"run.json: altered since it was written"):
        require_same_run(run)


def test_write_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    target = tmp_path / "value"
    target.write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
