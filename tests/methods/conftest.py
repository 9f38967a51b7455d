"""Runs of five steps on the random base model, for which a response is right by chance."""

import zlib

import pytest

from hdpo.study.study import Run
from hdpo.tasks.countdown import CountdownTask
from helpers.runs import SHORT


@pytest.fixture
def make_run(make_study, base_folder, monkeypatch):
    """Builds a run; one text in eight is right, so some prompts are cliffs and some of these are distilled."""
    monkeypatch.setattr(CountdownTask, "reward", lambda self, problem, text: float(zlib.crc32(text.encode()) % 8 == 0))

    def make(run: str, **changes) -> Run:
        return make_study(**{"model__path": str(base_folder)} | SHORT | {"evaluate__every": 5} | changes).run(run, 1)

    return make
