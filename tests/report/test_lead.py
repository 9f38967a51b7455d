"""The finding in short: ten questions at most, no degrees of freedom, every claim of the paper counted by kind."""

import pandas as pd

from hdpo.claims.check import KINDS
from hdpo.claims.claims import load_claims
from hdpo.report.finding import VERDICT_COLUMNS
from hdpo.report.lead import WORDS, counts_in_words, question_table

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
    text = counts_in_words(frame())
    for kind, label in KINDS.items():
        count = sum(claim.kind == kind for claim in ours)
        assert f"{label.lower()} {count} / 0 of {count}" in text
    against = sum(not claim.beyond and place % 2 == 0 for place, claim in enumerate(load_claims()))
    said = text.partition("Opposite or contradicted")[2]
    assert sum(int(part.split(" / ")[1].split()[0]) for part in said.partition(": ")[2].split(";")) == against
