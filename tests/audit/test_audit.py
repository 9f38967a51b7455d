"""The audit of the reported numbers: each part by hand, by enumeration or against the code that trains."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_rel

from hdpo.audit.audit import audit, write_audit
from hdpo.audit.findings import findings
from hdpo.audit.grid import compatible_sizes, granularity
from hdpo.audit.recomputed import quoted_ends, quoted_range, quoted_ranges, recomputed_claims
from hdpo.audit.significance import both_tables, differences, repeats, reported_difficulty, required_sizes
from hdpo.audit.tail import tail_checks
from hdpo.claims.claims import load_claims
from hdpo.claims.reported import COLUMNS, attainable, chance_on_grid, on_grid, reported_scores
from hdpo.stats.proportions import Paired
from hdpo.stats.selection import Difficulty
from hdpo.system.errors import UserError


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    return folder


@pytest.fixture(autouse=True)
def _inside(repository, monkeypatch):
    monkeypatch.chdir(repository)


@pytest.fixture(scope="module")
def done(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        return audit()


# Granularity.


def test_attainable_values_of_few_problems():
    assert attainable(4).tolist() == [0, 2500, 5000, 7500, 10000]
    assert attainable(3).tolist() == [0, 3333, 6667, 10000]
    assert on_grid(np.array([0.3333, 0.3334, 0.5]), 3).tolist() == [True, False, False]
    assert chance_on_grid(4) == 5 / 10_001 and chance_on_grid(2048) == pytest.approx(0.205, abs=5e-4)


def test_every_share_of_2048_is_on_its_grid_however_it_was_printed():
    shares = np.array([float(f"{c / 2048:.4f}") for c in range(2049)])
    assert on_grid(shares, 2048).all()


def test_all_reported_values_fit_2048_problems_and_no_smaller_number(done):
    values = reported_scores()[list(COLUMNS.values())].to_numpy().ravel()
    assert values.size == 30 and on_grid(values, 2048).all()
    sizes = compatible_sizes(values, 2100).set_index("problems")["on_grid"]
    assert sizes.idxmax() == 2048 and sizes.drop(2048).max() < 20
    assert set(done.sizes.query("on_grid == 30")["problems"]) == {2048, 4096}


def test_a_random_value_would_not_fit():
    rows = granularity(reported_scores(), Difficulty(0.34, 0.2), np.random.default_rng(0)).set_index("estimator")
    random = rows.loc["a random four-decimal number"]
    assert random["chance"] == pytest.approx(random["share_on_grid"] ** 30) and random["chance"] < 1e-20
    assert rows.iloc[0]["share_on_grid"] == 1
    assert rows.iloc[2:]["share_on_grid"].between(0.15, 0.3).all()  # finer scores fit about as often as random ones


# Claims.


def test_differences_by_hand(done):
    part = done.claims_recomputed.query("id == '1a' and table == 1").set_index("contrast")
    assert part.loc["frozen-0.01 − grpo", "absolute"] == pytest.approx(0.63)  # .7812 − .7749
    assert part.loc["frozen-0.01 − grpo", "relative"] == pytest.approx(0.63 / 0.7749)
    assert part.loc["drifting-0.01 − grpo", "absolute"] == pytest.approx(1.12)
    fall = done.claims_recomputed.query("id == '2b' and table == 3")
    assert fall["absolute"].tolist() == pytest.approx([-1.66, -1.66]) and fall["as_claimed"].all()
    assert done.claims_recomputed.query("id == '2a'")["as_claimed"].all()  # within the margin
    signs = done.claims_recomputed.groupby("id")["as_claimed"].agg(["sum", "size"])
    assert signs.loc["1b"].tolist() == [6, 8] and signs.loc["6b"].tolist() == [2, 4]
    assert signs.loc["5a"].tolist() == [8, 8] and not any(name.startswith("x") for name in signs.index)


def test_quoted_ranges_are_held_against_both_readings(done):
    cells = done.quoted.set_index(["id", "tables", "reading"])
    assert cells.loc[("1a", "1", "relative"), ["low_fits", "high_fits"]].tolist() == [True, False]  # .81 to 1.45
    assert cells.loc[("1a", "1", "absolute"), ["low_fits", "high_fits"]].tolist() == [False, True]  # .63 to 1.12
    assert cells.loc[("5b", "1 and 3", "absolute"), ["low_fits", "high_fits"]].tolist() == [True, True]
    assert cells.loc[("1a", "1 and 3", "absolute"), ["inside", "parts"]].tolist() == [3, 8]
    ends = done.quoted_ends
    assert ends.query("id == '2b' and quoted == -2.8")["reading"].isna().all()
    assert ends.query("id == '2b' and quoted == -2.3")["contrast"].tolist() == ["drifting-0.1 − grpo"]
    assert set(ends.query("id == '1a' and quoted == 0.8")["reading"]) == {"relative"}


def test_quoted_text():
    assert quoted_range("+0.8 to +1.1 %") == (0.8, 1.1)
    assert quoted_range("−2.3 to −2.8 %") == (-2.8, -2.3)
    with pytest.raises(UserError, match="two numbers"):
        quoted_range("about 2 %")


def test_a_made_up_paper_that_quotes_itself_right_fits():
    reported = reported_scores()
    claims = [claim.model_copy(update={"quoted": "+0.6 to +1.1 %"}) for claim in load_claims() if claim.id == "1a"]
    recomputed = recomputed_claims(reported[reported["table"] == 1], claims)
    fits = quoted_ranges(recomputed, claims).query("tables == '1'").set_index("reading")
    assert fits.loc["absolute", ["low_fits", "high_fits", "inside"]].tolist() == [True, True, 4]
    assert len(quoted_ends(recomputed, claims).query("reading == 'absolute'")) == 4


# Significance.


def test_the_largest_gain_by_hand():
    reported = reported_scores()
    frame = differences(reported, reported_difficulty(reported))
    assert len(frame) == 24
    row = frame.set_index(["table", "run", "metric"]).loc[(1, "hdpo-frozen-0.1", "pass@8")]
    se = np.sqrt((0.8228 * 0.1772 + 0.8398 * 0.1602) / 2048)
    assert row["z_unpaired"] == pytest.approx(0.017 / se)
    rho = row["rho"]
    covariance = 2 * rho * np.sqrt(0.8228 * 0.1772 * 0.8398 * 0.1602) / 2048
    assert row["z_paired"] == pytest.approx(0.017 / np.sqrt(se**2 - covariance))
    assert row["problems"] == 1720 - 1685  # .8398 · 2048 and .8228 · 2048
    assert Paired(int(row["discordant"] + 35) // 2, int(row["discordant"] - 35) // 2).p_value <= 0.05
    assert frame["holm_unpaired"].max() == 1 and (frame["rho_needed"] > 0).all()


def test_reported_difficulty_has_grpos_scores():
    found = reported_difficulty(reported_scores())
    assert (found.pass_at(4), found.pass_at(8)) == pytest.approx((0.7749, 0.8228))


def test_repeats_are_a_paired_comparison_of_the_tables():
    """With two tables, the two-way residual is that of the paired differences: sd(differences)/√2."""
    reported = reported_scores()
    for metric, column in COLUMNS.items():
        wide = reported.pivot(index="run", columns="table", values=column)
        apart = wide[1] - wide[3]
        _, sd, df = repeats(reported, metric)
        assert sd == pytest.approx(apart.std(ddof=1) / np.sqrt(2)) and df == 4
        t = apart.mean() / (np.sqrt(2) * sd / np.sqrt(5))
        assert t == pytest.approx(ttest_rel(wide[1], wide[3]).statistic)


def test_both_tables_by_hand():
    frame = both_tables(reported_scores()).set_index(["run", "metric"])
    row = frame.loc[("hdpo-frozen-0.1", "pass@8")]
    assert row["diff"] == pytest.approx((0.8398 + 0.8369 - 0.8228 - 0.8223) / 2)
    assert row["se"] == pytest.approx(row["sd_run"])  # two means of two: s · sqrt(½ + ½)
    pooled = frame.loc[("all HDPO runs", "pass@8")]
    assert pooled["se"] == pytest.approx(pooled["sd_run"] * np.sqrt(1 / 8 + 1 / 2))
    assert pooled["diff"] == pytest.approx(
        frame.loc[frame.index.get_level_values(0) != "all HDPO runs"].loc[(slice(None), "pass@8"), "diff"].mean()
    )


def test_required_sizes_by_hand():
    reported = reported_scores()
    frame = required_sizes(differences(reported, reported_difficulty(reported)))
    row = frame.set_index(["table", "run", "metric"]).loc[(1, "hdpo-frozen-0.1", "pass@8")]
    assert row["unpaired"] == int(np.ceil(7.848879 * (0.8228 * 0.1772 + 0.8398 * 0.1602) / 0.017**2))
    assert row["difficulty"] < row["half"] < row["unpaired"]
    assert pd.isna(frame.set_index(["table", "run", "metric"]).loc[(1, "hdpo-frozen-0.01", "greedy"), "unpaired"])


# The tail.


def test_tail_checks_hold_and_notice_a_wrong_tail(monkeypatch):
    checks = tail_checks()
    assert len(checks) == 8 and (checks["error"] < 1e-12).all()
    excess = checks[checks["statement"].str.startswith("excess")].iloc[0]
    assert excess["measured"] > 0.01

    def wrong(teacher, student, k, tail="exact"):
        return torch.zeros(len(teacher), dtype=torch.float64)

    monkeypatch.setattr("hdpo.audit.tail.top_k_jsd", wrong)
    assert (tail_checks()["error"] > 1e-3).sum() >= 4


# What is written.


def test_findings_say_what_the_tables_say(done):
    said = findings(done).set_index("finding")["value"]
    assert said["entries that are multiples of 1/2048"] == "30 of 30"
    assert said["numbers of problems up to 5000 that all entries fit"] == "2048, 4096"
    assert said["1a: readings of the entries that range from +0.8 to +1.1 %"] == "none"
    assert said["largest gain, points"].startswith("+1.7 (HDPO frozen, λ = 0.1")
    assert said["its z and p, unpaired binomial"] == "1.45, 0.15"
    assert said["checks of ½·P_rest·ln 2 as the exact term that hold"] == "8 of 8"


def test_everything_is_written_and_a_rerun_writes_the_same_bytes(done, monkeypatch, tmp_path):
    monkeypatch.setattr("hdpo.audit.audit.audit", lambda: done)
    write_audit(tmp_path / "first")
    paths = sorted((tmp_path / "first").iterdir())
    names = {path.name for path in paths}
    assert {
        "audit.md",
        "audit.json",
        "audit.csv",
        "significance.tex",
        "quoted.md",
        "audit_grid.png",
        "audit_selection.pdf",
    } <= names
    write_audit(tmp_path / "second")
    for path in paths:
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name
        if path.suffix == ".tex":
            assert path.read_text(encoding="utf-8").isascii(), path.name


def test_missing_numbers_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("hdpo.claims.reported.REPORTED", tmp_path / "reported.csv")
    with pytest.raises(UserError, match=r"reported\.csv: cannot be read"):
        write_audit(tmp_path / "out")
