"""Runs of five steps on a base model that solves some problems."""

import contextlib

import pytest

from hdpo.run.train import train_run
from hdpo.study.study import Run, load_study
from helpers.runs import SHORT
from helpers.studies import write_study


@pytest.fixture
def make_run(make_study, trained_base):
    def make(run: str = "hdpo-frozen-0.1", **changes) -> Run:
        return make_study(**{"model__path": str(trained_base)} | SHORT | changes).run(run, 1)

    return make


@pytest.fixture(scope="session")
def finished_folder(build_once, trained_base):
    """A folder in which `grpo` and `hdpo-frozen-0.1` have been trained without interruption; copy it to change it."""

    def build(folder):
        study = load_study(write_study(folder, model__path=str(trained_base), **SHORT))
        with contextlib.chdir(folder):
            for name in ("grpo", "hdpo-frozen-0.1"):
                train_run(study.run(name, 1))

    return build_once("finished-runs", build)


@pytest.fixture
def finished(enter_copy, finished_folder) -> Run:
    """The finished `hdpo-frozen-0.1` in a working directory of its own."""
    return enter_copy(finished_folder).run("hdpo-frozen-0.1", 1)
