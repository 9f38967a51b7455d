"""Shared fixtures: a tiny study on Countdown and base models for it, built once for all processes of a test session."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from hdpo.study.study import Study, load_study
from helpers.studies import write_study


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def build_once(tmp_path_factory):
    """Calls a builder of a folder in the first of pytest-xdist's processes that asks, and hands its folder to all."""
    top = tmp_path_factory.getbasetemp()
    shared = top.parent if "PYTEST_XDIST_WORKER" in os.environ else top

    def build(name: str, builder: Callable[[Path], object]) -> Path:
        folder = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not folder.exists():
                unfinished = folder.with_suffix(".unfinished")
                unfinished.mkdir(exist_ok=True)
                builder(unfinished)
                unfinished.rename(folder)
        return folder

    return build


@pytest.fixture
def make_study(tmp_path, monkeypatch):
    """Builds a study in an empty working directory; keyword changes as in `tiny`."""
    monkeypatch.chdir(tmp_path)

    def make(**changes) -> Study:
        return load_study(write_study(tmp_path, **changes))

    return make


@pytest.fixture
def make_trainer(make_study, base_folder):
    """Builds the trainer of one run on the random base model; keyword changes as in `tiny`."""
    from hdpo.learning.trainer import Trainer

    def make(run: str = "hdpo-drifting-0.1", seed: int = 1, **changes) -> Trainer:
        return Trainer(make_study(**{"model__path": str(base_folder)} | changes).run(run, seed))

    return make


@pytest.fixture(scope="session")
def base_folder(build_once) -> Path:
    """A base model of the smoke shape with random weights, sharpened so that its distributions differ by context."""
    return build_once("random-base", _build_random_base) / "base"


def _build_random_base(folder: Path) -> None:
    from hdpo.model.loading import load_policy
    from hdpo.run.base_model import initial_model
    from hdpo.tasks.countdown import build_tokenizer

    study = load_study(write_study(folder))
    tokenizer = build_tokenizer()
    initial_model(folder / "initial", study.pretrain, len(tokenizer), study.model.max_length, tokenizer.eos_token_id, 0)
    model = load_policy(folder / "initial", implementation="small")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")


@pytest.fixture(scope="module", params=["small", "transformers"])
def policy(request, base_folder):
    """The random base model in each of its implementations."""
    from hdpo.model.loading import load_policy

    return load_policy(base_folder, implementation=request.param)


@pytest.fixture(scope="module")
def reference(base_folder):
    """The same weights in transformers' own model."""
    from transformers import Qwen2ForCausalLM

    return Qwen2ForCausalLM.from_pretrained(base_folder).eval()


@pytest.fixture(scope="session")
def trained_base(build_once) -> Path:
    """A base model trained for some seconds: it solves some problems, so that steps have rewards and gradients."""
    from hdpo.run.base_model import train_base

    def build(folder: Path) -> None:
        train_base(load_study(write_study(folder, pretrain__steps=200)), folder / "base")

    return build_once("trained-base", build) / "base"


@pytest.fixture(scope="session")
def reported_folder(build_once) -> Path:
    """A folder with a whole made-up study, for those who report it; copy it before changing anything."""
    from helpers import reported_study

    def build(folder: Path) -> None:
        with contextlib.chdir(folder):
            reported_study.build(folder)

    return build_once("reported", build)


@pytest.fixture
def enter_copy(tmp_path, monkeypatch):
    """Copies a folder with a study, makes the copy the working directory and returns its study."""

    def enter(folder: Path) -> Study:
        shutil.copytree(folder, tmp_path / "copy")
        monkeypatch.chdir(tmp_path / "copy")
        return load_study("study.yaml")

    return enter
