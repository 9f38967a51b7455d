"""Progress fits the terminal, cuts the run's name first, and starts where the run goes on."""

import io
import os
import re
import sys

import pytest

from hdpo.system.progress import line, progress

TITLE = "run hdpo-drifting-0.1+privileged_rollouts=8 seed 12"
FIGURES = {"reward": "0.123", "loss": "-0.012", "cliffs": 3}


@pytest.mark.parametrize("columns", [60, 61, 70, 80, 100, 200])
@pytest.mark.parametrize(("done", "total", "left"), [(0, 80, None), (7, 80, 59.0), (999, 1000, 36_000.0)])
def test_a_line_fits_and_keeps_what_matters(columns, done, total, left):
    text = line(TITLE, done, total, left, FIGURES, columns)
    assert len(text) < columns
    assert f"{done}/{total}" in text and "reward 0.123" in text and "loss -0.012" in text and "cliffs 3" in text
    assert ("left" in text) == (left is not None)


def test_the_name_is_cut_first_and_whole_where_there_is_room():
    assert line(TITLE, 7, 80, 59.0, FIGURES, 200).startswith(TITLE + " █")
    narrow = line(TITLE, 40, 80, 59.0, FIGURES, 70)
    assert re.match(r"run h[-\w]*… █+·+ 40/80 00:59 left", narrow)


@pytest.mark.parametrize("columns", [5, 20, 30, 40, 50])
def test_a_terminal_that_is_too_narrow_keeps_the_step(columns):
    text = line(TITLE, 7, 80, 59.0, FIGURES, columns)
    assert text.startswith("7/80") or " 7/80" in text
    assert len(text) < max(columns, len("7/80 00:59 left") + 1)


def test_the_bar_grows_with_the_steps():
    filled = [line("t", done, 8, 1.0, {}, 60).count("█") for done in range(9)]
    assert filled == sorted(filled) and filled[0] == 0 and "·" not in line("t", 8, 8, 1.0, {}, 60)


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def fileno(self):
        return 2


def test_on_a_terminal_of_60_columns_the_first_line_is_where_the_run_goes_on(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((60, 24)))
    bar = progress(range(40, 44), TITLE, initial=40)
    assert "40/44" in terminal.getvalue()
    for _ in bar:
        bar.set_postfix(**FIGURES)
    shown = [text.rstrip() for text in re.split(r"[\r\n]", terminal.getvalue()) if text.strip()]
    assert all(len(text) <= 60 for text in shown)
    assert "40/44" in shown[0] and "44/44" in shown[-1] and "cliffs 3" in shown[-1]
    assert not any(f" {step}/44" in text for text in shown for step in range(40))


def test_a_log_counts_from_where_the_run_goes_on(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(progress(range(40, 44), "run x", initial=40)) == [40, 41, 42, 43]
    lines = log.getvalue().splitlines()
    assert [text.split()[2] for text in lines] == ["42/44", "44/44"] and lines[-1].endswith("left=0s")


def test_other_ranks_show_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), "run x", shown=False)) == [0, 1, 2]
    assert sys.stderr.getvalue() == ""
