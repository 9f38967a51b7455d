"""Made-up studies in an empty repository with the paper's data."""

import pytest

from helpers.studies import hdpo
from helpers.synthetic import make_study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The tiny study in an empty repository with the paper's data: 7 runs, 3 seeds, 60 test problems."""
    monkeypatch.chdir(tmp_path)
    return make_study(tmp_path)


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Two runs, one evaluation after step 0 twice over, four problems a split: small enough to do by hand."""
    monkeypatch.chdir(tmp_path)
    return make_study(
        tmp_path,
        seeds=[1, 2],
        methods=["grpo", hdpo("drifting")],
        task={"problems": {"train": 16, "development": 4, "validation": 4, "test": 4}},
        train={"steps": 20},
        evaluate={"every": 10, "samples": 4, "test_samples": 4, "ks": [1, 4]},
    )
