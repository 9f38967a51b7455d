"""The short version of `make torture`: kills, signals, two at once, full disks, damaged files, power cuts."""

import os
import socket
import sys
from importlib import import_module
from pathlib import Path

import pytest

from hdpo.system.files import lock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, signals and /proc as on Linux")


@pytest.fixture(autouse=True)
def _shared_base(monkeypatch, trained_base, tmp_path):
    from torture import victims

    monkeypatch.setattr(victims, "base_model", lambda: trained_base)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["kill", "concurrency", "disk", "corruption", "power"])
def test_nothing_is_lost(script):
    rows = import_module(f"torture.{script}").run(quick=True)
    assert sum(row["tries"] for row in rows) > 0
    assert [row for row in rows if row["survived"] < row["tries"]] == []


@pytest.mark.slow
def test_a_second_workflow_is_refused_and_a_dry_run_is_not():
    from torture.victims import error_lines, snakemake, workplace

    with workplace(), lock(Path("results/smoke/.lock"), "study smoke"):
        second = snakemake("theory", cores=1)
        said = second.communicate(timeout=120)[0]
        assert second.returncode == 2
        assert error_lines(said) == [
            f"hdpo: study smoke: process {os.getpid()} on {socket.gethostname()} is working on it;"
            " wait for it or end it, then try again"
        ]
        planned = snakemake("theory", "--dry-run", cores=1)
        assert "theory" in planned.communicate(timeout=120)[0] and planned.returncode == 0


def test_two_kills_within_writing_and_two_at_random_moments_lose_nothing():
    """The shortest of them all, for the quick tests."""
    from torture import kill
    from torture.victims import uninterrupted

    expected = uninterrupted()
    for row in (kill.kills_within_writing(2, expected), kill.random_kills(2, expected)):
        assert row["survived"] == row["tries"] > 0, row
