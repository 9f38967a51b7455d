"""What `hdpo plan` prints, and the page that quotes it."""

import math

import pytest

from hdpo.cli import main
from hdpo.plan.cost import (
    run_seconds,
    study_seconds,
)
from hdpo.plan.hardware import DEVICES, LEVELS
from hdpo.plan.page import duration, print_plan, si
from hdpo.plan.workload import assumptions
from hdpo.study.study import load_study
from helpers.studies import ROOT


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--hardware", "h300"], "hardware 'h300': unknown; choose from cpu, rtx4090"),
        (["--assume", "length=3"], "assumption 'length': unknown; choose from prompt"),
        (["--assume", "cliffs=1.5"], "assumption cliffs: 1.5 is no share"),
        (["--assume", "response=nan"], "assumption response: nan is no number above 0"),
        (["--hardware", "cpu", "--assume", "response=3e9"], "too little memory: paper"),
    ],
)
def test_bad_input_is_one_line(paper, capsys, arguments, line):
    assert main(["plan", "config/paper.yaml", *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_a_replaced_assumption_reaches_every_level_and_the_page(small, capsys):
    for level in LEVELS:
        assert assumptions(small, level, {"response": 10.0}).response == 10
    print_plan(small, None, {"response": 10.0})
    page = capsys.readouterr().out
    assert si(16 * 16 * 80 * 10) in page and "140 training jobs" in page


def test_the_page_on_scale_states_what_the_plan_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/scales.md").read_text()
    rows = {"paper": {"8 × H200": "h200", "8 × H100": "h100", "8 × A100 80 GB": "a100"}}
    rows["gpu1"] = {"RTX 4090": "rtx4090", "A10": "a10", "L4": "l4"}
    for scale, devices in rows.items():
        study = load_study(f"config/{scale}.yaml")
        for label, name in devices.items():
            hours = [study_seconds(study, name, level) * study.hardware.gpus / 3600 for level in LEVELS]
            low, likely, high = (f"{float(f'{hour:.3g}'):,.0f}" if hour >= 20 else f"{hour:.1f}" for hour in hours)
            run = run_seconds(study, name, "likely", study.methods[1])
            run = duration(sum(run.values()) - run["test"]).replace(".0 min", " min")
            assert f"| {label} | {low}, **{likely}**, {high} | {run} |" in page


def test_figures_read_well():
    assert [si(value) for value in (5.12e8, 2.32e9, 999, 1e18)] == ["512 M", "2.32 G", "999", "1 E"]
    assert [duration(value) for value in (12, 204, 20160)] == ["12 s", "3.4 min", "5.6 h"]
    assert math.isclose(DEVICES["h100"].memory / 1e9, 85.5, abs_tol=0.1)
