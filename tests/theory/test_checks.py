"""The table: every verdict as recorded, and a table that would notice a wrong number."""

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.claims import Theory, load_claims
from hdpo.render.document import document_markdown
from hdpo.theory import bounds, checks, figures, optimal_policy, statements


@pytest.fixture(scope="module")
def table():
    return checks.run_checks()


def test_every_verdict_is_the_recorded_one(table):
    assert list(table.columns) == statements.COLUMNS
    assert set(table["verdict"]) == {"holds", "holds with limits", "fails"}
    assert checks.surprises(table).empty, checks.surprises(table).to_string()
    fails = table.loc[table["verdict"] == "fails", "id"]
    for id in checks.KNOWN_FAILURES:
        assert statements.covered(fails, id).any(), id


def test_ids_are_unique_and_cover_what_claims_and_known_failures_refer_to(table):
    assert table["id"].is_unique
    on_the_base_model = {id for id in statements.STATEMENTS if id.endswith(".base")}
    named = {id for claim in load_claims() if isinstance(claim, Theory) for id in claim.checks}
    assert len(named) >= 11
    for id in (statements.STATEMENTS.keys() | named | checks.KNOWN_FAILURES) - on_the_base_model:
        assert statements.covered(table["id"], id).any(), id
    assert table["id"].str.fullmatch(r"[a-z0-9-]+(\.[a-z0-9+-]+)+").all()


def test_identities_and_searches_meet_the_stated_precision(table):
    exact = table[(table["tolerance"] == statements.EXACT) & (table["verdict"] != "fails")]
    assert len(exact) >= 15
    assert (exact["error"] <= 1e-12).all()


def test_a_wrong_measurement_is_a_surprise():
    good = statements.row("proxy.tilt", "q", 1.0, 1.0 + 1e-13, statements.EXACT)
    bad = statements.row("proxy.tilt", "q", 1.0, 1.0 + 1e-11, statements.EXACT)
    repaired = statements.row(next(iter(checks.KNOWN_FAILURES)), "q", 1.0, 1.0, statements.EXACT)
    table = pd.DataFrame([good, bad, repaired])
    assert list(checks.surprises(table).index) == [1, 2]


@pytest.mark.parametrize(
    ("relation", "measured", "verdict"),
    [
        ("equal", 0.9, "fails"),
        ("at most", 0.9, "holds"),
        ("at most", 1.1, "fails"),
        ("at least", 0.9, "fails"),
        ("at least", 1.1, "holds"),
    ],
)
def test_one_sided_rows(relation, measured, verdict):
    assert statements.row("proxy.tilt", "q", 1.0, measured, 0.01, relation=relation)["verdict"] == verdict


def test_not_a_number_never_holds_and_equal_infinities_do():
    assert statements.row("proxy.tilt", "q", 1.0, np.nan, 1.0)["verdict"] == "fails"
    assert statements.row("proxy.tilt", "q", np.inf, np.inf, 0.0)["verdict"] == "holds"
    assert statements.row("proxy.tilt", "q", 2.0, 2.1, 0.2, limits=True)["verdict"] == "holds with limits"


def test_markdown_has_one_line_per_row(table):
    text = document_markdown(checks.theory_page(table))
    assert sum(line.startswith("| ") for line in text.splitlines()) == len(table) + 1
    assert f"{(table['verdict'] == 'fails').sum()} fails" in text


def test_figures_show_what_their_frame_holds():
    limit = optimal_policy.limit_curve((0.3,))
    axis = figures.limit_figure(limit).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), limit["formula"])
    np.testing.assert_allclose(limit["formula"], limit["measured"], rtol=1e-3, atol=1e-12)


def test_model_rows_report_a_bound_that_is_broken_and_leave_the_open_question_open():
    gaps = pd.DataFrame(
        {"same_kl": [0.1, 0.2], "same_bound": [0.3, 0.4], "cross_kl": [0.5, 0.1], "cross_bound": [1.0, 1.0]}
    )
    table = pd.DataFrame(bounds.model_rows(gaps))
    assert list(table["verdict"]) == ["holds", "holds", "fails"]
    assert table["measured"].iloc[2] == 0.5  # at one token of two the other model is nearer
    assert checks.surprises(table).empty
    broken = pd.DataFrame(bounds.model_rows(gaps.assign(same_bound=0.15)))
    assert list(checks.surprises(broken).index) == [0]
