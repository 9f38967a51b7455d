"""The finding in short: ten questions at most, no degrees of freedom, every claim of the paper counted by kind."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from hdpo.claims.claims import claims_of, load_claims
from hdpo.claims.results import Results
from hdpo.report.finding import VERDICT_COLUMNS
from hdpo.report.lead import (
    NOUNS,
    WORDS,
    conversion_in_words,
    corrected_in_words,
    counts_in_words,
    question_table,
    scale_in_words,
)
from hdpo.report.statistics import claim_tests
from helpers.synthetic import make_study, write_everything

REGIMES = ("calm", "rough")


def frame() -> pd.DataFrame:
    """Every claim in two regimes: reproduced in the first, by turns contradicted and mixed in the second."""
    rows = []
    for name in REGIMES:
        for place, claim in enumerate(load_claims()):
            verdict = "reproduced" if name == "calm" else ("contradicted", "mixed")[place % 2]
            row = (
                claim.id,
                claim.statement,
                claim.kind,
                claim.beyond,
                name,
                "+1.0 [+0.5, +1.5] (df\xa05.1)",
                "0.7",
                verdict,
            )
            rows.append(row)
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def test_ten_questions_at_most_each_of_a_claim_of_the_paper():
    claims = {claim.id: claim for claim in load_claims()}
    assert len(WORDS["questions"]) <= 10
    assert all(not claims[id].beyond for id in WORDS["questions"])
    table = question_table(frame())
    assert table.columns == ("question", "reported", *REGIMES) and len(table.rows) == len(WORDS["questions"])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Does greedy accuracy fall at λ = 0.1?"][:2] == ("−2.2 and −1.7", "reproduced\n+1.0 [+0.5, +1.5]")
    assert rows["On a cliff, is GRPO's gradient zero, and HDPO's not?"][:2] == ("stated", "reproduced")
    assert "df" not in " ".join(sum(table.rows, ()))


def test_a_claim_that_one_regime_has_not_is_a_dash():
    verdicts = frame()
    table = question_table(verdicts[~((verdicts["id"] == "2b") & (verdicts["regime"] == "rough"))])
    assert next(row for row in table.rows if "fall at" in row[0])[-1] == "—"


def test_counts_are_those_of_the_papers_claims():
    ours = [claim for claim in load_claims() if not claim.beyond]
    total, calm, rough, _ = re.split(r"(?<=\.) ", counts_in_words(frame()))
    kinds = [sum(claim.kind == kind for claim in ours) for kind in NOUNS]
    assert total.startswith(f"The paper makes {len(ours)} claims that can be tested: {kinds[0]} about effects, ")
    counts = "{}, {}, {} and {}"
    assert calm == (
        f"On calm, {counts.format(*kinds)} of them are reproduced, and 0, 0, 0 and 0 come out against the paper."
    )
    turned = [claim.kind for place, claim in enumerate(load_claims()) if not claim.beyond and place % 2 == 0]
    assert f"and {counts.format(*map(turned.count, NOUNS))} come out against" in rough


def test_what_the_base_never_solves_is_counted(tmp_path, monkeypatch):
    """Only where the base model solves no problem of the hardest size: a size is not picked by its failures."""
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path)
    write_everything(study, effect=0.05)
    results = Results(study)
    base = results.final["base", 0]
    assert base.hits[base.difficulty == 3].any() and conversion_in_words("calm", results) == ""
    results.final["base", 0] = replace(base, hits=np.where(base.difficulty == 3, 0, base.hits))
    scores = results.scores("test", "conversion")
    hdpo = [
        scores[f"hdpo-{teacher}-0.1"][seed][base.difficulty == 3]
        for teacher in ("drifting", "frozen")
        for seed in (1, 2, 3)
    ]
    text = conversion_in_words("calm", results)
    assert f"none of the {(base.difficulty == 3).sum()} test problems of size 3 in 16 tries each" in text
    assert text.endswith(f"HDPO at λ = 0.1 solves {100 * np.mean(hdpo):.1f} %.")
    once = study.evaluate.model_copy(update={"conversion_samples": None})
    results.study = study.model_copy(update={"evaluate": once})
    assert conversion_in_words("calm", results) == ""


def test_corrected_effects_are_counted_by_holm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path)
    write_everything(study, effect=0.05)
    results, claims = Results(study), claims_of(study)
    tests = claim_tests(results, claims).set_index("id")["p_holm"]
    effects = [claim.id for claim in claims if claim.kind == "effect" and not claim.beyond]
    stand = sum(tests.get(id, 1.0) <= 0.05 for id in effects)
    verdicts = frame()[lambda rows: rows["regime"] == "calm"]
    assert corrected_in_words({"calm": results}, verdicts) == (
        f"Of the reproduced effects, {stand} of {len(effects)} on calm stand after Holm's correction over all claims"
        " of a direction."
    )


def test_points_have_a_scale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path)
    assert scale_in_words({"calm": Results(study)}) == "GRPO itself is not run."
    write_everything(study)
    results = Results(study)
    own = np.mean([score.mean() for score in results.scores("test", "pass@8")["grpo"].values()])
    base = results.scores("test", "pass@8")["base"][0].mean()
    text = scale_in_words({"calm": results, "rough": results})
    assert text == (
        "Points are of all 60 test problems of a regime. GRPO has pass@8 of"
        f" {100 * own:.1f} % on calm and {100 * own:.1f} % on rough, and the base model before training"
        f" {100 * base:.1f} % on calm and {100 * base:.1f} % on rough."
    )
