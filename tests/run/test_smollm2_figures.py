"""The tables of SmolLM2's runs are those of the figures beside them."""

import pytest

from hdpo.system.files import read_json
from helpers.smollm2 import kit_table, sample, trl_table
from helpers.studies import ROOT

PUBLISHED = ROOT / "results/reference/smollm2"


@pytest.mark.parametrize(("name", "table"), [("kit", kit_table), ("trl", trl_table)])
def test_the_published_table_is_that_of_the_rows(name, table):
    rows = read_json(PUBLISHED / f"{name}.json")["rows"]
    assert (PUBLISHED / f"{name}.md").read_text(encoding="utf-8") == table(rows) + "\n"


def test_the_published_sample_is_what_was_printed():
    printed = read_json(PUBLISHED / "kit.json")["samples"]
    assert (PUBLISHED / "sample.md").read_text(encoding="utf-8") == sample(printed) + "\n"
