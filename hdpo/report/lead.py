"""What a reader is told first: the finding in plain sentences, verdicts by kind, ten claims as questions, a figure."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hdpo.claims.answer import answer, at_larger_weights, led_by
from hdpo.claims.check import verdict_text
from hdpo.claims.claims import Contrasted, claims_of, load_claims
from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import BASELINE, Results, compare
from hdpo.claims.sources import REFERENCE
from hdpo.render.formats import listed, signed
from hdpo.render.table import Table, make_table, read_as
from hdpo.report.captions import TEMPLATES
from hdpo.report.gains_figure import LEVEL
from hdpo.report.statistics import claim_tests
from hdpo.study.study import BASE_RUN, Study

FINDING = Path("results/finding")  # of several studies, made here; the published one is in REFERENCE
WORDS = yaml.safe_load((TEMPLATES / "questions.yaml").read_text(encoding="utf-8"))
AGAINST = ("opposite sign", "contradicted")
NOUNS = {"effect": "about effects", "null": "that something is kept", "theory": "of theory", "cost": "about cost"}


@dataclass(frozen=True)
class Lead:
    """`studies` holds the identity of each study by name."""

    studies: dict[str, str]
    text: tuple[str, ...]
    table: Table


def lead_of(results: dict[str, Results], verdicts: pd.DataFrame) -> Lead:
    """Of results by regime; `verdicts` as from `hdpo.report.finding`."""
    named = {found.study.name: found.study.identity for found in results.values()}
    sentences = (f"{answer(found)} {at_larger_weights(found)}".strip() for found in results.values())
    converted = (conversion_in_words(name, found) for name, found in results.items())
    corrected = corrected_in_words(results, verdicts)
    text = (*sentences, " ".join(filter(None, converted)), scale_in_words(results))
    text = (*text, f"{counts_in_words(verdicts)} {corrected}")
    return Lead(named, tuple(filter(None, text)), question_table(verdicts))


def find_lead(study: Study) -> tuple[Path, Lead] | None:
    """The finding that this study is a part of, and its folder: made here, or else published; None where none is.

    Raises:
        UserError: a finding is damaged.
    """
    for folder in (FINDING, REFERENCE / FINDING.name):
        if (folder / "lead.json").is_file():
            lead = read_as(Lead, folder / "lead.json", "a finding")
            if lead.studies.get(study.name) == study.identity:
                return folder, lead
    return None


def finding_data(study: Study) -> dict[str, Any] | None:
    """What the study's report shows of the finding, with paths relative to the study's folder; see `find_lead`."""
    found = find_lead(study)
    if found is None:
        return None
    (folder, lead), there = found, os.path.relpath(found[0], study.root)
    drawn = all((folder / f"finding.{kind}").is_file() for kind in ("png", "pdf"))
    names = {"every claim in every regime": "finding.md", "a page to try": "playground.html"}
    links = {title: f"{there}/{name}" for title, name in names.items() if (folder / name).is_file()}
    figure = WORDS["figure"] | {"stem": f"{there}/finding", "there": drawn}
    return {"text": lead.text, "table": lead.table, "figure": figure, "links": links}


def counts_in_words(verdicts: pd.DataFrame) -> str:
    """How many of the paper's claims of each kind were met, and how many came out against it, by regime."""
    ours = verdicts[~verdicts["beyond"].astype(bool)]
    kinds = {kind: ours[ours["kind"] == kind] for kind in NOUNS if (ours["kind"] == kind).any()}
    totals = listed([f"{rows['id'].nunique()} {NOUNS[kind]}" for kind, rows in kinds.items()])
    sentences = [f"The paper makes {ours['id'].nunique()} claims that can be tested: {totals}."]
    for name in dict.fromkeys(verdicts["regime"]):
        met, against = (
            [int((rows["regime"].eq(name) & rows["verdict"].isin(wanted)).sum()) for rows in kinds.values()]
            for wanted in (("reproduced",), AGAINST)
        )
        counts = f"{listed(list(map(str, met)))} of them are reproduced, and {listed(list(map(str, against)))}"
        sentences.append(f"On {name}, {counts} come out against the paper.")
    return " ".join([*sentences, "The others are mixed, or show no difference that this study can see."])


def corrected_in_words(results: dict[str, Results], verdicts: pd.DataFrame) -> str:
    """How many of the reproduced effects of the paper stand after Holm's correction over its claims of a direction."""
    ours = verdicts[verdicts["kind"].eq("effect") & ~verdicts["beyond"].astype(bool)]
    parts = []
    for name, found in results.items():
        tests = claim_tests(found, claims_of(found.study)).set_index("id")["p_holm"]
        met = ours[ours["regime"].eq(name) & ours["verdict"].eq("reproduced")]["id"]
        parts.append(f"{int((tests.reindex(met) <= LEVEL).sum())} of {len(met)} on {name}")
    return f"Of the reproduced effects, {listed(parts)} stand after Holm's correction over all claims of a direction."


def conversion_in_words(name: str, results: Results) -> str:
    """Which share of the hardest size is solved in as many tries as the base model had; "" unless it solves none.

    Problems that were picked because the base model failed would in part be solved by new tries of the same model. A
    whole size is not picked so.
    """
    base, tries = results.final.get((BASE_RUN, 0)), results.study.evaluate.conversion_samples
    if base is None or tries is None:
        return ""
    size = int(base.difficulty.max())
    hardest = base.difficulty == size
    if base.hits[hardest].any():
        return ""
    label, runs = led_by(results.runs)
    weights = [{BASELINE: 1.0}, {run: 1 / len(runs) for run in runs}]
    found = compare(results.contrasts("test", "conversion", weights, f"size {size}"))
    if None in found:
        return ""
    grpo, hdpo = (f"{100 * part.value:.1f} %" for part in found if part)
    return (
        f"On {name}, the base model solves none of the {hardest.sum()} test problems of size {size} in {tries} tries"
        f" each. GRPO solves {grpo} of them in {tries} tries, and {label} solves {hdpo}."
    )


def scale_in_words(results: dict[str, Results]) -> str:
    """What the points are points of: pass@k of GRPO and of the base model, and the number of test problems."""
    own: list[str] = []
    base: list[str] = []
    problems = 0
    for name, found in results.items():
        metric = f"pass@{max(found.study.evaluate.ks)}"
        for parts, run in ((own, BASELINE), (base, BASE_RUN)):
            (mean,) = compare(found.contrasts("test", metric, [{run: 1.0}]))
            if mean is not None:
                parts.append(f"{100 * mean.value:.1f} % on {name}")
                problems = mean.problems
    if not own:
        return "GRPO itself is not run."
    before = f", and the base model before training {listed(base)}" if base else ""
    return f"Points are of all {problems} test problems of a regime. GRPO has {metric} of {listed(own)}{before}."


def question_table(verdicts: pd.DataFrame) -> Table:
    """The claims of templates/questions.yaml: the question, what the paper reports, and a column for each regime."""
    reported, rows = reported_scores(), []
    by_place = verdicts.set_index(["id", "regime"])
    for claim in load_claims():
        if question := WORDS["questions"].get(claim.id):
            measured, entries = isinstance(claim, Contrasted), pd.Series(dtype=float)
            if isinstance(claim, Contrasted):
                entries = reported_contrasts(reported, claim.contrast, claim.metric)
            row = {"question": question}
            row["reported"] = " and ".join(signed(100 * value) for value in entries) or "stated"
            for name in dict.fromkeys(verdicts["regime"]):
                there = (claim.id, name) in by_place.index
                row[name] = _cell(by_place.loc[(claim.id, name)], measured) if there else "—"
            rows.append(row)
    frame = pd.DataFrame(rows)
    return make_table("finding-questions", frame, WORDS["caption"], words=list(frame.columns), notes=WORDS["notes"])


def _cell(row: pd.Series, measured: bool) -> str:
    """The verdict, and below it what a claim of a difference measured, without degrees of freedom."""
    found = re.sub(r" \(df[^)]*\)", "", row["measured"]) if measured else "—"
    return verdict_text(row["verdict"], row["MDE"]) + ("" if found == "—" else f"\n{found}")
