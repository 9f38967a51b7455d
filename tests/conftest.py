"""Shared fixtures: a tiny study on Countdown and a random base model, no network, no training."""

import contextlib
import shutil
from pathlib import Path

import pytest
import torch

from hdpo.study.study import Study, load_study
from helpers.studies import write_study


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_study(tmp_path, monkeypatch):
    """Builds a study in an empty working directory; keyword changes as in `tiny`."""
    monkeypatch.chdir(tmp_path)

    def make(**changes) -> Study:
        return load_study(write_study(tmp_path, **changes))

    return make


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    """A base model of the smoke shape with random weights, sharpened so that its distributions differ by context."""
    from hdpo.model.loading import load_policy
    from hdpo.run.base_model import initial_model
    from hdpo.tasks.countdown import build_tokenizer

    folder = tmp_path_factory.mktemp("base")
    study = load_study(write_study(folder))
    tokenizer = build_tokenizer()
    initial_model(folder / "initial", study.pretrain, len(tokenizer), study.model.max_length, tokenizer.eos_token_id, 0)
    model = load_policy(folder / "initial", implementation="small")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return folder / "base"


@pytest.fixture(scope="session")
def trained_base(tmp_path_factory) -> Path:
    """A base model trained for some seconds: it solves some problems, so that steps have rewards and gradients."""
    from hdpo.run.base_model import train_base

    folder = tmp_path_factory.mktemp("trained")
    train_base(load_study(write_study(folder, pretrain__steps=200)), folder / "base")
    return folder / "base"


@pytest.fixture(scope="session")
def reported_folder(tmp_path_factory) -> Path:
    """A folder with a whole made-up study, for those who report it; copy it before changing anything."""
    from helpers.reported_study import build

    folder = tmp_path_factory.mktemp("reported")
    with contextlib.chdir(folder):
        build(folder)
    return folder


@pytest.fixture
def enter_copy(tmp_path, monkeypatch):
    """Copies a folder with a study, makes the copy the working directory and returns its study."""

    def enter(folder: Path) -> Study:
        shutil.copytree(folder, tmp_path / "copy")
        monkeypatch.chdir(tmp_path / "copy")
        return load_study("study.yaml")

    return enter
