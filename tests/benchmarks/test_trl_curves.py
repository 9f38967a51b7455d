"""What is published of TRL's runs follows from their curves."""

import pandas as pd

from benchmarks.trl_curves import summarise, table, trained_by_trl
from benchmarks.trl_overhead import cost_table
from hdpo.system.files import read_json
from helpers.studies import ROOT

PUBLISHED = ROOT / "results/reference/trl"


def test_the_summary_is_that_of_the_curves():
    found = pd.read_csv(PUBLISHED / "curves.csv")
    expected = summarise(trained_by_trl(PUBLISHED))
    mine = found[found["source"] == "TRL"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, expected, check_dtype=False)
    assert mine.groupby("run").size().tolist() == [3, 3]


def test_the_tables_are_those_of_the_numbers_beside_them():
    summary = pd.read_csv(PUBLISHED / "curves.csv")
    assert (PUBLISHED / "curves.md").read_text(encoding="utf-8") == table(summary) + "\n"
    assert (PUBLISHED / "cost.md").read_text(encoding="utf-8") == cost_table(read_json(PUBLISHED / "cost.json")) + "\n"
