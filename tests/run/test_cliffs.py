"""`hdpo cliffs`: shares by hand, what is said of each kind of model, and one real run."""

import math

import numpy as np
import pytest

from hdpo.cli import main
from hdpo.run.cliffs import describe, summarise
from hdpo.system.files import read_json
from helpers.studies import write_study


def test_shares_by_hand():
    """Four problems, 4 tries, groups of 2: never, once, always, twice solved; hints help the first half of the time."""
    found = summarise(np.array([0, 1, 4, 2]), 4, np.array([1, 2, 2, 0]), 2, 2)
    cliff = [1, math.comb(3, 2) / 6, 0, 1 / 6]  # C(n − c, G) / C(n, G)
    assert found["cliffs"] == pytest.approx(sum(cliff) / 4)
    assert (found["never"], found["always"]) == (0.25, 0.25)
    assert found["depth"] == pytest.approx((cliff[1] * 1 + cliff[3] * 2) / (sum(cliff) * 4))
    assert found["unlucky"] == pytest.approx((cliff[1] + cliff[3]) / 4)
    assert found["unlucky_pass_rate"] == pytest.approx((cliff[1] * 1 + cliff[3] * 2) / ((cliff[1] + cliff[3]) * 4))
    assert (found["hinted_on_never"], found["opened_on_never"]) == (0.5, 1.0)
    assert found["hinted_on_unlucky"] == pytest.approx(cliff[1] / (cliff[1] + cliff[3]))


@pytest.mark.parametrize(
    ("plain", "hinted", "words"),
    [
        ([8, 8, 8, 8], [0, 0, 0, 0], "hardly any cliffs"),
        ([0, 0, 8, 8], [0, 0, 0, 0], "the hints do not open"),
        ([0, 0, 8, 8], [4, 4, 4, 4], "Expect HDPO to help"),
        ([1, 1, 1, 8], [4, 4, 4, 4], "Expect GRPO to open most"),
    ],
)
def test_what_is_said_follows_the_counts(plain, hinted, words):
    lines = describe(summarise(np.array(plain), 8, np.array(hinted), 4, 4))
    assert words in lines[-1]


def test_a_model_is_measured_and_bad_numbers_are_one_line(tmp_path, monkeypatch, trained_base, capsys):
    monkeypatch.chdir(tmp_path)
    path = write_study(tmp_path, model__path=str(trained_base))
    assert main(["cliffs", str(path), "--problems", "4", "--tries", "8"]) == 0
    assert "true cliffs" in capsys.readouterr().out
    (written,) = tmp_path.glob("results/*/cliffs.json")
    assert read_json(written)["problems"] == 4
    for arguments, words in (
        (["--tries", "1"], "--tries 1: a step draws"),
        (["--problems", "9999"], "--problems 9999"),
    ):
        assert main(["cliffs", str(path), *arguments]) == 2
        assert words in capsys.readouterr().err
