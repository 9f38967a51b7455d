"""Resuming: the same bytes as without the interruption."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from hdpo.run.train import train_run
from hdpo.study.study import load_study
from helpers.runs import assert_same, record, results, steps, train_until_killed


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["grpo", "hdpo-frozen-0.1"])
def test_resumed_equals_uninterrupted(make_run, finished_folder, monkeypatch, step, name):
    with contextlib.chdir(finished_folder):
        whole = results(load_study("study.yaml").run(name, 1))
    assert all(metrics["grad_norm"] > 0 for metrics in whole[0])  # or equality would prove nothing
    assert name == "grpo" or sum(metrics["demonstrations"] for metrics in whole[0]) > 0
    run = make_run(name)
    train_until_killed(run, monkeypatch, step)
    assert not run.folder.exists()  # no half result
    train_run(run)
    assert_same(results(run), whole)
    assert record(run)["resumed_after_step"] == step // 2 * 2
    assert [metrics["step"] for metrics in steps(run)] == [0, 1, 2, 3, 4]
    assert record(run)["tokens"]["rollout"] == sum(metrics["tokens"]["rollout"] for metrics in whole[0]) > 0


def test_resumed_equals_uninterrupted_in_bfloat16(make_run, monkeypatch):
    model = {"model__dtype": "bfloat16", "model__implementation": "transformers"}
    short = model | {"train__steps": 3, "train__checkpoint_every": 1, "evaluate__every": 3}
    run = make_run(**short)
    train_run(run)
    whole = results(run)
    assert all(metrics["grad_norm"] > 0 for metrics in whole[0])
    run = make_run(name="killed", **short)
    train_until_killed(run, monkeypatch, 2)
    train_run(run)
    assert record(run)["resumed_after_step"] == 2
    assert_same(results(run), whole)
    assert {weight.dtype for weight in whole[2].values()} == {torch.bfloat16}  # the model, as the study says
    saved = load_file(run.state_folder / "step-000003/policy.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    lost = sum(int((weight != weight.bfloat16()).sum()) for weight in saved.values())
    assert lost > 0.5 * sum(weight.numel() for weight in saved.values())  # or float32 would hold nothing more


@pytest.mark.slow
def test_sigkill_of_the_command_again_and_again(make_run):
    """The real command, killed in four steps, then left to finish; tests/torture does it at length."""
    run = make_run("hdpo-drifting-0.1", train__steps=12)
    command = [sys.executable, "-m", "hdpo.cli", "train", "study.yaml", "--run", run.name, "--seed", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    metrics = run.state_folder / "metrics.jsonl"
    for lines in (1, 4, 7, 10):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < lines):
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not run.folder.exists()
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert record(run)["resumed_after_step"] >= 8
    interrupted = results(run)
    run = make_run("hdpo-drifting-0.1", train__steps=12, name="whole")
    train_run(run)
    assert_same(interrupted, results(run))


def test_a_finished_run_says_so_and_loads_nothing(finished, monkeypatch, capsys):
    before = results(finished), record(finished)
    monkeypatch.setattr("hdpo.run.train.Trainer", None)  # would fail if it were asked
    train_run(finished)
    said = f"run {finished.name} seed 1: finished, all 5 steps are done; results in {finished.folder}\n"
    assert capsys.readouterr().out == said
    assert_same(results(finished), before[0])
    assert record(finished) == before[1]


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "model/model.safetensors"])
def test_a_finished_run_whose_results_are_gone_is_written_again(finished, name):
    before = results(finished)
    (finished.folder / name).unlink()
    train_run(finished)
    assert record(finished)["resumed_after_step"] == 5
    assert_same(results(finished), before)


def test_what_lies_beside_a_checkpoint_is_not_trusted(make_run, monkeypatch):
    run = make_run()
    train_until_killed(run, monkeypatch, 3)
    metrics = run.state_folder / "metrics.jsonl"
    metrics.write_bytes(b"half a li" + metrics.read_bytes()[:40])
    train_run(run)
    assert [metrics["step"] for metrics in steps(run)] == [0, 1, 2, 3, 4]


def test_changed_code_starts_anew_and_says_so(finished, monkeypatch, capsys):
    """Checkpoints of other code are left alone: their folder's name ends in another hash."""
    old = finished.state_folder
    monkeypatch.setattr(type(finished), "code", "0123456789ab")
    assert finished.state_folder.name == f"{old.name.rpartition('-')[0]}-0123456789ab"
    train_run(finished)
    assert f"the code has changed since {old}; training starts anew" in capsys.readouterr().out
    assert record(finished)["resumed_after_step"] == 0 and record(finished)["code"] == "0123456789ab"
    assert (old / "step-000005").is_dir()
