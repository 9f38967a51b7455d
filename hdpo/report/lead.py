"""What a reader is told first: the finding in plain sentences, verdicts by kind, ten claims as questions, a figure."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hdpo.claims.answer import answer
from hdpo.claims.check import verdict_text
from hdpo.claims.claims import Contrasted, load_claims
from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import BASELINE, Results, compare
from hdpo.claims.sources import REFERENCE
from hdpo.render.formats import signed
from hdpo.render.table import Table, make_table, read_as
from hdpo.report.captions import TEMPLATES
from hdpo.study.study import Study

FINDING = Path("results/finding")  # of several studies, made here; the published one is in REFERENCE
WORDS = yaml.safe_load((TEMPLATES / "questions.yaml").read_text(encoding="utf-8"))
GROUPS = {"Reproduced": ("reproduced",), "Against the paper": ("opposite sign", "contradicted")}
NOUNS = {"effect": "effects", "null": "nulls", "theory": "statements of theory", "cost": "statements of cost"}


@dataclass(frozen=True)
class Lead:
    """`studies` holds the identity of each study by name."""

    studies: dict[str, str]
    text: tuple[str, ...]
    table: Table


def lead_of(results: dict[str, Results], verdicts: pd.DataFrame) -> Lead:
    """Of results by regime; `verdicts` as from `hdpo.report.finding`."""
    named = {found.study.name: found.study.identity for found in results.values()}
    sentences = map(answer, results.values())
    return Lead(named, (*sentences, scale_in_words(results), counts_in_words(verdicts)), question_table(verdicts))


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
    regimes = list(dict.fromkeys(verdicts["regime"]))
    ours = verdicts[~verdicts["beyond"].astype(bool)]
    lines = []
    for title, wanted in GROUPS.items():
        parts = []
        for kind, noun in NOUNS.items():
            rows = ours[ours["kind"] == kind]
            met = [int((rows["regime"].eq(name) & rows["verdict"].isin(wanted)).sum()) for name in regimes]
            if any(met) or (title == "Reproduced" and len(rows)):
                parts.append(f"{' and '.join(map(str, met))} of {rows['id'].nunique()} {noun}")
        lines.append(f"{title} on {' and on '.join(regimes)}: {', '.join(parts) or 'none'}.")
    return " ".join([*lines, "The others are mixed, or show no difference that this study can see."])


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
