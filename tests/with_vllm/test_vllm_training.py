"""HDPO with vLLM's rollouts, for real: steps, a whole run, resuming. Skipped where vLLM is not installed."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("vllm")

from hdpo.learning.trainer import Trainer
from hdpo.model.tokenizer import encode
from hdpo.run.train import train_run
from hdpo.sampling.sampler import Sampler
from helpers.steps import timeless


@pytest.fixture
def make_run(make_study, trained_base):
    def make(run: str, **changes):
        changes = {"model__path": str(trained_base), "train__backend": "vllm"} | changes
        return make_study(**changes).run(run, 1)

    return make


@pytest.mark.parametrize("teacher", ["drifting", "frozen"])
def test_steps_of_hdpo(make_run, teacher):
    trainer = Trainer(make_run(f"hdpo-{teacher}-0.1", train__optimizer__learning_rate=2e-3))
    records = [trainer.step(step) for step in range(4)]
    assert sum(record["demonstrations"] for record in records) > 0
    assert records[0]["grad_norm"] > 0
    gaps = [record["logp_gap_max"] for record in records if record["logp_gap_max"] is not None]
    assert gaps and max(gaps) < 1e-4
    prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(problem) for problem in trainer.problems[:16]])
    answers = []
    for model, sampler in ((trainer.teacher.model, trainer.teacher.sampler), (trainer.policy, trainer.sampler)):
        own = Sampler(model, trainer.tokenizer.eos_token_id, trainer.settings.max_response_tokens)
        drawn = [row.tolist() for row in sampler.sample(prompts, 1, 0.0).sequences.completions]
        assert drawn == [row.tolist() for row in own.sample(prompts, 1, 0.0).sequences.completions]
        answers.append(drawn)
    assert (answers[0] != answers[1]) == (teacher == "frozen")


def results(run) -> tuple:
    metrics = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return (
        [timeless(record) for record in metrics],
        (run.folder / "evals.parquet").read_bytes(),
        load_file(run.folder / "model/model.safetensors"),
    )


def test_a_whole_run_ends_the_same_after_a_kill(make_run, monkeypatch):
    changes = {"train__steps": 4, "train__checkpoint_every": 2, "evaluate__every": 2}
    run = make_run("hdpo-frozen-0.1", **changes)
    train_run(run)
    metrics, evals, weights = results(run)
    assert sum(record["demonstrations"] for record in metrics) > 0
    run = make_run("hdpo-frozen-0.1", name="other", **changes)
    with monkeypatch.context() as patch:
        before = Trainer.step
        patch.setattr(Trainer, "step", lambda self, step: before(self, step) if step < 3 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_run(run)
    train_run(run)
    metrics_again, evals_again, weights_again = results(run)
    assert metrics_again == metrics
    assert evals_again == evals
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


def test_the_command_line_trains_and_evaluates(make_run, tmp_path):
    make_run("grpo", train__steps=2)
    for command in ("train", "evaluate"):
        arguments = [command, str(tmp_path / "study.yaml"), "--run", "grpo", "--seed", "1"]
        subprocess.run([sys.executable, "-m", "hdpo.cli", *arguments], check=True)  # a process each: one engine each
    outcomes = pd.read_parquet(tmp_path / "results/smoke/eval/grpo/seed1.parquet")
    assert len(outcomes) == 32 and outcomes["greedy"].sum() > 0


def test_two_processes_draw_what_one_does(make_run, tmp_path):
    metrics = []
    for processes in (1, 2):
        run = make_run("hdpo-drifting-1", name=f"by{processes}", train__steps=2, hardware={"processes": processes})
        command = ["train", str(tmp_path / "study.yaml"), "--run", run.name, "--seed", "1"]
        subprocess.run([sys.executable, "-m", "hdpo.cli", *command], check=True)
        metrics.append([json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()])
    for one, two in zip(*metrics, strict=True):
        assert one["tokens"] == two["tokens"] and one["reward"] == two["reward"] and one["logp_gap_max"] < 1e-4
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-4)
