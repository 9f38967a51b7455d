"""Reported against measured, claim by claim, and a fresh run against the committed one."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable

import pandas as pd

from hdpo.claims.answer import answer
from hdpo.claims.claims import (
    VERDICTS,
    AnyClaim,
    Contrasted,
    Direction,
    Equivalence,
    Theory,
    claims_of,
    direction_verdict,
    equivalence_verdict,
    overhead_verdict,
    theory_verdict,
)
from hdpo.claims.overhead import LineFit, fit_overhead, overhead_steps
from hdpo.claims.reference import COMPARISON_RULE, compare_with_reference
from hdpo.claims.registration import departures, plan_of
from hdpo.claims.reported import reported_contrasts, reported_facts, reported_scores
from hdpo.claims.results import Comparison, Contrast, Results, compare, metric_names
from hdpo.claims.summary import summarise
from hdpo.render.document import Document, Section, document_markdown
from hdpo.render.formats import points, signed
from hdpo.render.table import make_table, to_markdown, write_text
from hdpo.study.study import Study
from hdpo.system.files import write_json
from hdpo.theory.statements import read_theory

KEPT = "The runs are the planned ones, their commits descend from the plan's, and claims.yaml has not changed since."
KINDS = {"effect": "Effects", "null": "Nulls", "theory": "Theory", "cost": "Cost"}
READING = (
    "Measured: final weights, test problems, mean over seeds, points with the paired 95 % t interval (90 % for"
    " nulls) and its degrees of freedom, df: the fewer, the wider Student's t makes it."
    " MDE: the effect that this study would find with 80 % power."
    " Reported: the same contrast of the paper's entries, Tables 1 | 3, and how many parts have the claimed sign."
    " The rules stand in hdpo/paper/claims.yaml, fixed before the first run of the plan."
)


def write_check(study: Study, strict: bool = False) -> int:
    """Write `<root>/check.md`, .csv and .json, the short `verdicts.md`, and print the verdicts.

    Returns:
        0; with `strict`, 1 if a claim of the paper is contradicted, has the opposite sign or is not run.

    Raises:
        UserError: a result, the claims or the paper's numbers are damaged or belong elsewhere.
    """
    results, reported = Results(study), reported_scores()
    claims = claims_of(study)
    verdicts, facts = check_claims(results, claims, reported), reported_facts(reported)
    reference = compare_with_reference(study, summarise(results))
    counts = count_verdicts(claims, verdicts["verdict"])
    counted = " ".join(counts_line(kind, found) for kind, found in counts.items())
    planned, departed, said = plan_of(study), departures(study), answer(results)
    numbers = verdicts.drop(columns="data")
    shown = numbers.assign(verdict=[verdict_text(*row) for row in zip(numbers["verdict"], numbers["MDE"], strict=True)])
    compared = [make_table("reference", reference)] if len(reference) else []
    compared_by = COMPARISON_RULE if compared else "No reference run is committed."
    sections = (
        Section("", (said, counted), (make_table("claims", shown, words=shown.columns),)),
        Section("", (READING, *([results.codes] if results.codes else []))),
        *([Section("Against the plan", tuple(departed) or (KEPT,))] if planned else []),
        Section("What the reported numbers say by themselves", (), (make_table("facts", facts),)),
        Section("Against the committed reference run", (compared_by,), tuple(compared)),
    )
    as_json = {"study": study.name, "config_hash": study.identity, "counts": counts, "codes": results.codes}
    as_json |= {"answer": said, "departures": departed}
    tables = {"claims": verdicts, "reported": facts, "reference": reference}
    as_json |= {name: table.to_dict("records") for name, table in tables.items()}
    write_text(study.root / "check.md", document_markdown(Document(f"Check of study {study.name}", sections)))
    write_text(study.root / "check.csv", numbers.to_csv(index=False))
    write_json(study.root / "check.json", json.loads(json.dumps(as_json), parse_constant=lambda _: None))  # no nan
    brief = shown[["id", "claim", "reported", "measured", "MDE", "seeds", "verdict"]]
    in_short = make_table("verdicts", brief, words=brief.columns, notes=[READING])
    write_text(study.root / "verdicts.md", to_markdown(in_short) + "\n")
    widths = [None, 40, 24, 26, None, None, None]
    print(brief.to_markdown(index=False, tablefmt="simple", maxcolwidths=widths, disable_numparse=True))
    print(f"\n{said}\n{counted} All of it: {study.root / 'check.md'}")
    print(results.codes, end="\n" if results.codes else "")
    print(*departed, sep="\n", end="\n" if departed else "")
    claimed = verdicts[[not claim.beyond for claim in claims]]
    return int(strict and claimed["verdict"].isin(["opposite sign", "contradicted", "not run"]).any())


def count_verdicts(claims: list[AnyClaim], verdicts: Iterable[str]) -> dict[str, dict[str, int]]:
    """How many claims of each kind have which verdict."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for claim, verdict in zip(claims, verdicts, strict=True):
        counts[claim.kind][verdict] += 1
    return {kind: {verdict: found[verdict] for verdict in VERDICTS if found[verdict]} for kind, found in counts.items()}


def counts_line(kind: str, counts: dict[str, int]) -> str:
    """`Effects, 3: 2 reproduced, 1 mixed.`"""
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{KINDS[kind]}, {sum(counts.values())}: {parts or 'none'}."


def verdict_text(verdict: str, detectable: str) -> str:
    """The verdict in words; `smaller than this study can see` names the size, the row's MDE in points."""
    return f"{verdict} ({detectable} points)" if verdict == "smaller than this study can see" else verdict


def check_claims(results: Results, claims: list[AnyClaim], reported: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: what is said, reported and measured, and the verdict; `data` holds the numbers."""
    theory = read_theory(results.study.root / "theory" / "theory.csv")
    steps = overhead_steps(results.study, results.reader)
    rows = []
    for claim in claims:
        row = {"id": claim.id, "claim": claim.statement, "where": claim.where, "quantity": claim.quantity}
        row |= dict.fromkeys(("reported", "measured", "MDE", "seeds"), "—")
        data = None
        if isinstance(claim, Contrasted):
            pooled, *each = compare(claim_contrasts(results, claim))
            row |= {"quantity": f"{claim.metric}: {claim.quantity}", "reported": _reported(claim, reported)}
            row |= _measured(claim, pooled, len(results.study.seeds))
            data = {"pooled": _data(pooled), "each": [_data(part) for part in each]}
        if isinstance(claim, Direction):
            verdict = direction_verdict(claim, pooled, each)
        elif isinstance(claim, Equivalence):
            verdict = equivalence_verdict(claim, pooled)
        elif isinstance(claim, Theory):
            verdict, row["measured"] = theory_verdict(claim, theory)
        else:
            fit = fit_overhead(steps, claim.unit)
            verdict, data = overhead_verdict(claim, fit), _data(fit)
            row["measured"] = _fit_text(fit, claim.unit)
        rows.append(row | {"verdict": verdict, "data": data})
    return pd.DataFrame(rows)


def claim_contrasts(results: Results, claim: Contrasted) -> list[Contrast | None]:
    """The contrasts of a claim, all None where this study does not have its metric."""
    known = claim.metric in metric_names(results.study)
    known |= claim.metric == "conversion" and results.study.evaluate.conversion_samples is not None
    weights = claim.weights
    return results.contrasts("test", claim.metric, weights, claim.subset) if known else [None] * len(weights)


def _measured(claim: Contrasted, pooled: Comparison | None, planned: int) -> dict[str, str]:
    if pooled is None:
        return {}
    ends = (pooled.low90, pooled.high90) if isinstance(claim, Equivalence) else (pooled.low, pooled.high)
    found = len(pooled.seeds)
    seeds = str(found) if found == planned else f"{found} of {planned}"
    mde = "unknown (1 seed)" if math.isnan(pooled.detectable) else f"{100 * pooled.detectable:.1f}"
    return {"measured": points(pooled.value, *ends, pooled.df), "MDE": mde, "seeds": seeds}


def _reported(claim: Contrasted, reported: pd.DataFrame) -> str:
    """The claim's contrast of the paper's entries, per table, and the signs of its parts."""
    values = reported_contrasts(reported, claim.contrast, claim.metric)
    if values.empty:
        return "—"
    text = " | ".join(signed(100 * value, 2) for value in values)
    if isinstance(claim, Direction) and claim.each:
        parts = pd.concat([reported_contrasts(reported, weights, claim.metric) for weights in claim.each])
        text += f" (sign in {((claim.sign * parts).round(6) > 0).sum()} of {len(parts)})"
    return text + (f"; quoted {claim.quoted}" if claim.quoted else "")


def _fit_text(fit: LineFit | None, unit: str) -> str:
    if fit is None:
        return "—"
    if fit.slope is None:
        return f"{fit.steps} steps, no line"
    intercept = signed(100 * fit.intercept / fit.mean, 0)
    return f"{fit.slope:.3g} {unit} per cliff, intercept {intercept} % of the mean, R² {fit.r_squared:.2f}"


def _data(record: Comparison | LineFit | None) -> dict | None:
    return dataclasses.asdict(record) if record is not None else None
