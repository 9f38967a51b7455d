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
from hdpo.claims.claims import Contrasted, load_claims
from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import BASELINE, Results, compare
from hdpo.claims.sources import REFERENCE
from hdpo.render.formats import listed, signed
from hdpo.render.table import Table, make_table, read_as
from hdpo.report.captions import TEMPLATES
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
    converted = filter(None, (conversion_in_words(name, found) for name, found in results.items()))
    text = (*sentences, " ".join(converted), scale_in_words(results), counts_in_words(verdicts))
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


def conversion_in_words(name: str, results: Results) -> str:
    """Which share of what the base model never solves is solved within as many tries; "" where nothing counts them."""
    tries = results.study.evaluate.conversion_samples
    label, runs = led_by(results.runs)
    if tries is None or BASE_RUN not in results.scores("test", "conversion"):
        return ""
    weights = [{BASELINE: 1.0}, {run: 1 / len(runs) for run in runs}]
    found = compare(results.contrasts("test", "conversion", weights, "base never"))
    if None in found:
        return ""
    grpo, hdpo = (f"{100 * part.value:.0f} %" for part in found if part)
    never = max(part.problems for part in found if part)
    return (
        f"On {name}, the base model never solves {never} of the test problems in {tries} tries. Of these, GRPO solves"
        f" {grpo} in {tries} tries, and {label} solves {hdpo}."
    )


def scale_in_words(results: dict[str, Results]) -> str:
    """What the points are points of: GRPO's own pass@k, and the number of test problems."""
    parts, problems = [], 0
    for name, found in results.items():
        metric = f"pass@{max(found.study.evaluate.ks)}"
        (mean,) = compare(found.contrasts("test", metric, [{BASELINE: 1.0}]))
        if mean is not None:
            parts.append(f"{100 * mean.value:.1f} % on {name}")
            problems = mean.problems
    if not parts:
        return "GRPO itself is not run."
    return f"Points are of all {problems} test problems of a regime. GRPO itself has {metric} of {' and '.join(parts)}."


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
