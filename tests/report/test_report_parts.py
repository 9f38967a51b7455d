"""Parts of the report: where results come from, and what decided each claim."""

import json
import re
import shutil

import pytest

from hdpo.claims.check import verdict_text
from hdpo.claims.claims import claims_of, load_claims
from hdpo.claims.reported import reported_scores
from hdpo.report.origins import origins
from hdpo.report.reasons import reason, rule_in_words
from helpers.reported_study import MACHINE, verdicts, write_record


@pytest.fixture
def study(reported_folder, enter_copy):
    return enter_copy(reported_folder)


def test_origins_by_hand(study):
    found = origins(study)
    assert (found["complete"], found["planned"], found["seconds"]) == (21, 21, 7 * (61 + 62 + 63))
    machine = {key: MACHINE[key] for key in ("versions", "cpu", "gpu", "threads")}
    assert found["machines"] == [machine | {"processes": None}]  # None: of a record from before there could be several
    assert found["base"]["parameters"] == 10 and len(found["base"]["sha256"]) == 64
    row = found["runs"][0]
    assert row["rollout_tokens"] == 40 * 1000 and row["privileged_tokens"] == 0 and row["machine"] == 1
    assert found["runs"][3]["privileged_tokens"] > 0
    write_record(study, "grpo", 2, cpu="Another CPU", dirty=True)
    shutil.rmtree(study.run("grpo", 3).folder)
    found = origins(study)
    assert [row["machine"] for row in found["runs"][:4]] == [1, 2, None, 1]
    assert found["dirty"] and found["complete"] == 20 and found["runs"][2]["status"] == "not run"


@pytest.mark.parametrize(
    ("detectable", "verdict", "shown", "why"),
    [
        (
            0.0131,
            "smaller than this study can see",
            "smaller than this study can see (1.3 points)",
            "1.31 points .* more",
        ),
        (
            0.0072,
            "no difference seen",
            "no difference seen",
            r"0\.72 points with 80 % power, no more than the 1 point ",
        ),
    ],
)
def test_what_a_study_without_a_difference_detects_is_said(detectable, verdict, shown, why):
    claim = next(claim for claim in load_claims() if claim.id == "x2")  # its effect of interest is one point
    pooled = {"value": 0.002, "low": -0.01, "high": 0.014, "detectable": detectable, "per_seed": [0.002]}
    row = {"verdict": verdict, "data": {"pooled": pooled, "each": []}}
    assert verdict_text(verdict, f"{100 * detectable:.1f}") == shown
    assert re.search(why, reason(claim, row, reported_scores()))


def test_reasons_state_what_decided(study):
    claims = {claim.id: claim for claim in claims_of(study)}
    check = json.loads((study.root / "check.json").read_text())
    rows = {row["id"]: row for row in check["claims"]}
    assert sum(verdicts(study).values()) == len(rows)
    reasons = {key: reason(claims[key], rows[key], reported_scores()) for key in claims}
    assert rows["1a"]["verdict"] == "reproduced"
    assert reasons["1a"].startswith("The mean is on the claimed side; its interval excludes 0; 4 of 4 parts have")
    assert rows["10b"]["verdict"] == "reproduced" and "The line rises" in reasons["10b"]
    assert rows["9a"]["verdict"] == "not run" and "is missing" in reasons["9a"]
    # Every part of the rule is met where, and only where, the verdict is "reproduced".
    for key in ("1a", "1b", "2b", "3a", "3b", "5a"):
        met = "excludes 0" in reasons[key] and "not on the claimed side" not in reasons[key]
        met = met and not re.search(r"([0-9]) of (?!\1)[0-9] parts", reasons[key])
        assert met == (rows[key]["verdict"] == "reproduced")
    assert rule_in_words(claims["5b"]).endswith("each of 2 parts has that sign, and so does every seed")
    assert rule_in_words(claims["2a"]) == "the 90 % interval lies within ± 1 point"
