"""Rules: which measurement makes which verdict, and which claims are refused."""

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.check import check_claims
from hdpo.claims.claims import (
    Direction,
    Equivalence,
    Overhead,
    Theory,
    direction_verdict,
    equivalence_verdict,
    load_claims,
    overhead_verdict,
    theory_verdict,
)
from hdpo.claims.overhead import fit_overhead
from hdpo.claims.reported import reported_scores
from hdpo.claims.results import Comparison, Results
from hdpo.system.errors import UserError

CLAIM = dict(id="t", statement="s", where="w", quantity="q", metric="greedy", contrast={"a": 1.0, "b": -1.0})
UP = Direction(**CLAIM, rule="direction", direction="up", each=({"a": 1.0, "b": -1.0},), each_seed=True)
DOWN = Direction(**CLAIM, rule="direction", direction="down")
KEPT = Equivalence(**CLAIM, rule="equivalence", margin=0.01)


def measured(value: float, half: float, per_seed: tuple[float, ...] = ()) -> Comparison:
    """A comparison with 95 % interval value ± half, and a 90 % interval four fifths of that."""
    ends = (value - half, value + half, value - 0.8 * half, value + 0.8 * half)
    return Comparison(value, half / 2, 4.0, *ends, 1.4 * half, per_seed or (value,) * 3, (1, 2, 3), 60)


@pytest.mark.parametrize(
    ("claim", "pooled", "each", "verdict"),
    [
        (UP, measured(0.02, 0.01), [measured(0.02, 0.05)], "reproduced"),
        (UP, measured(0.02, 0.01), [measured(-0.001, 0.05)], "mixed"),  # a part has the other sign
        (UP, measured(0.02, 0.01, (0.05, 0.02, -0.01)), [measured(0.02, 0.05)], "mixed"),  # a seed has
        (UP, measured(0.02, 0.03), [measured(0.02, 0.05)], "smaller than this study can see"),  # MDE 4.2 points
        (UP, measured(-0.02, 0.03), [measured(0.02, 0.05)], "smaller than this study can see"),  # whatever its sign
        (UP, measured(0.004, 0.006), [measured(0.02, 0.05)], "no difference seen"),  # MDE 0.84 points, of interest 1
        (UP, measured(0.0, 0.0), [measured(0.0, 0.0)], "no difference seen"),
        (UP, measured(-0.02, 0.01), [measured(0.02, 0.05)], "opposite sign"),
        (UP, measured(0.02, np.nan), [measured(0.02, np.nan)], "undecided"),  # one seed
        (UP, measured(-0.02, np.nan), [measured(0.02, np.nan)], "undecided"),
        (UP, None, [measured(0.02, 0.05)], "not run"),
        (UP, measured(0.02, 0.01), [None], "not run"),
        (DOWN, measured(-0.02, 0.01), [], "reproduced"),
        (DOWN, measured(-0.02, 0.03), [], "smaller than this study can see"),
        (DOWN, measured(0.02, 0.01), [], "opposite sign"),
    ],
)
def test_direction_rule(claim, pooled, each, verdict):
    assert direction_verdict(claim, pooled, each) == verdict


@pytest.mark.parametrize(
    ("pooled", "verdict"),
    [
        (measured(0.001, 0.01), "reproduced"),  # 90 %: −0.7 to 0.9 points
        (measured(0.005, 0.01), "undecided"),
        (measured(0.03, 0.02), "contradicted"),  # 90 %: from 1.4
        (measured(-0.03, 0.02), "contradicted"),
        (measured(0.0, np.nan), "undecided"),
        (None, "not run"),
    ],
)
def test_equivalence_rule(pooled, verdict):
    assert equivalence_verdict(KEPT, pooled) == verdict


def test_theory_rule():
    claim = Theory(id="t", statement="s", where="w", quantity="q", rule="theory", checks=("lemma-1.bound", "prop-2"))
    ids = ["lemma-1.bound", "prop-2.limit.rate", "lemma-1.bounds"]  # the last is neither one of them nor below one
    table = pd.DataFrame({"id": ids, "verdict": ["holds", "holds with limits", "fails"]})
    assert theory_verdict(claim, table) == ("reproduced", "2 of 2 checks hold")
    half = table.assign(verdict=["holds", "fails", "holds"])
    assert theory_verdict(claim, half) == ("contradicted", "1 of 2 checks hold")
    assert theory_verdict(claim, table[:1])[0] == "not run"
    assert theory_verdict(claim, None)[0] == "not run"


def test_overhead_rule():
    claim = Overhead(
        **{key: "t" for key in ("id", "statement", "where", "quantity")},
        rule="overhead",
        unit="seconds",
        r_squared=0.5,
        intercept_share=0.25,
    )
    cliffs = np.tile(np.arange(5), 6)

    def verdict(seconds: np.ndarray) -> str:
        return overhead_verdict(claim, fit_overhead(pd.DataFrame({"cliffs": cliffs, "seconds": seconds}), "seconds"))

    noise = np.random.default_rng(0).normal(0, 10, 30)
    assert verdict(0.1 * cliffs) == "reproduced"
    assert verdict(0.1 * cliffs + 1) == "mixed"  # mostly a fixed cost
    assert verdict(0.1 * cliffs + noise - noise.min()) in ("mixed", "contradicted")  # mostly noise
    assert verdict(1 - 0.1 * cliffs) == "contradicted"
    assert verdict(np.ones(30)) == "undecided"
    assert overhead_verdict(claim, fit_overhead(pd.DataFrame(), "seconds")) == "not run"


def test_claims_are_balanced_contrasts_with_a_rule_each(study):
    claims = load_claims()
    assert {claim.id.rstrip("abcd") for claim in claims if not claim.beyond} == {str(n) for n in range(1, 11)}
    reported = check_claims(Results(study), claims, reported_scores()).set_index("id")["reported"]
    # Table 1: (.7812 + .7812 + .7861 + .7856)/4 − .7749; Table 3: (.7773 + .7856 + .7783 + .7832)/4 − .7739.
    assert reported["1a"].startswith("+0.86 | +0.72 (sign in 8 of 8)")
    assert reported["1b"].startswith("+0.85 | +0.75 (sign in 6 of 8)")
    assert reported["4b"] == "+0.53 | −0.39"
    assert reported["x1"] == "—"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  rule: equivalence", "  rule: equivalance", "equivalance"),
        ("margin: 0.01", "margin: -0.01", "margin"),
        ("grpo: -1}", "grpo: -2}", "must sum to 0"),
        ("  where: abstract", "  were: abstract", "where: Field required"),
        ("- id: 1b", "- id: 1a", "each id may occur only once"),
        ("- id: 1a", "- id: [", "not valid YAML"),
        (
            "[prop-1.wording]",
            "[prop-1.wordings]",
            "claim 8b: no theory statement has the id prop-1.wordings; nearest: prop-1.wording$",
        ),
    ],
)
def test_malformed_claims_are_refused(tmp_path, old, new, message):
    from hdpo.claims.claims import CLAIMS

    text = CLAIMS.read_text()
    assert old in text
    (tmp_path / "claims.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        load_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {id: a, statement: s, where: w, quantity: q, metric: greedy, contrast: {grpo: 1, base: -1}}", "rule"),
        ("- {id: a, statement: s, where: w, quantity: q, rule: luck}", "luck"),
        ("- {id: a, statement: s, where: w, quantity: q, rule: direction, direction: up, metric: greedy,"
         " contrast: {grpo: 1}}", "sum to 0"),
        ("- [", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_claim_without_a_proper_rule_is_refused(tmp_path, text, reason):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"claims\.yaml.*{reason}"):
        load_claims(path)
