"""The published outcomes give the published numbers, by a program that uses nothing of the package."""

import math
import runpy

import pandas as pd
import pytest

from helpers.studies import ROOT

COLUMNS = ["mean", "mean_low", "mean_high", "diff", "diff_low", "diff_high"]


@pytest.mark.parametrize("summary", sorted(ROOT.glob("results/reference/*/summary.csv")), ids=str)
def test_every_headline_number_is_recomputed_from_the_published_outcomes(summary):
    table = pd.read_csv(summary).query("protocol == 'test' and not metric.str.startswith('any')")
    found = runpy.run_path(str(ROOT / "examples/recompute.py"))["headline"](summary.parent)
    assert set(found) == set(zip(table["run"], table["metric"], strict=True)) and len(found) > 10
    compared = 0
    for row in table.to_dict("records"):
        for name, number in zip(COLUMNS, found[row["run"], row["metric"]], strict=True):
            if not math.isnan(row[name]):  # GRPO's difference to itself, and intervals of one seed
                assert number == pytest.approx(row[name], abs=1.1e-6), (row["run"], row["metric"], name)
                compared += 1
    assert compared > 100
