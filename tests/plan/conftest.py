"""The studies that plans are made of; their base models are named from the repository's folder."""

import pytest

from hdpo.study.study import load_study
from helpers.studies import ROOT


@pytest.fixture
def small(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load_study("config/small.yaml")


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load_study("config/paper.yaml")
