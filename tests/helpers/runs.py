"""Finished runs and killed ones: what a run leaves, and stand-ins for a kill and for damage."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hdpo.learning.trainer import Trainer
from hdpo.run.train import train_run
from hdpo.study.study import Run
from helpers.steps import timeless

SHORT = {"train__steps": 5, "train__checkpoint_every": 2, "evaluate__every": 2}


class Killed(Exception):
    """Stands for a SIGKILL: nothing of the program runs after it."""


def kill_at(monkeypatch, step: int) -> None:
    """From now on, training dies at that step."""
    before = Trainer.step

    def dying(self, now):
        if now == step:
            raise Killed
        return before(self, now)

    monkeypatch.setattr(Trainer, "step", dying)


def train_until_killed(run: Run, monkeypatch, step: int) -> None:
    """Train, and die at that step."""
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            train_run(run)


def steps(run: Run) -> list[dict]:
    """A finished run's metrics without timings."""
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    return [timeless(json.loads(line)) for line in lines]


def record(run: Run) -> dict:
    return json.loads((run.folder / "run.json").read_text())


def results(run: Run) -> tuple[list[dict], bytes, dict[str, torch.Tensor]]:
    """Everything that a finished run leaves behind, timings and provenance aside."""
    weights = load_file(run.folder / "model/model.safetensors")
    return steps(run), (run.folder / "evals.parquet").read_bytes(), weights


def assert_same(found: tuple, expected: tuple) -> None:
    """Two `results` are equal bit for bit."""
    assert found[:2] == expected[:2]
    assert found[2].keys() == expected[2].keys()
    assert all(torch.equal(found[2][key], expected[2][key]) for key in expected[2])


def damage(path: Path, how: str) -> None:
    """Cut a file in half, flip one of its bits, or remove it."""
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "altered":
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif how == "missing":
        path.unlink()
    else:
        raise ValueError(how)
