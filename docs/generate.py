"""The pages and facts that come from data. conf.py runs this before Sphinx reads any page; all goes to generated/."""

import os
import re
import shutil
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import draw
import hdpo
from facts import REFERENCE, ROOT, Verdicts, facts, markdown, read_json
from hdpo.claims.claims import AnyClaim, Contrasted, Theory, load_claims
from hdpo.claims.registration import regime as regime_of
from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.render.formats import signed
from hdpo.render.table import markdown_text, to_markdown
from hdpo.report.captions import FIGURES
from hdpo.report.reasons import reason, rule_in_words
from hdpo.study.study import load_study
from hdpo.theory.statements import covered, read_theory, theory_table

OUT = ROOT / "docs/generated"
API = {  # what a reader of the paper, or the author of a method or a task, looks up
    "methods": sorted(path.stem for path in (ROOT / "hdpo/methods").glob("[!_]*.py")),
    "learning": ["cliffs", "advantages", "policy_gradient", "jsd", "teacher", "trainer", "learner", "metrics"],
    "sampling": ["sampler"],
    "tasks": ["", "verifiers", "countdown"],
    "study": ["study", "method", "task"],
    "stats": ["paired", "passk", "power", "proportions", "robust", "selection", "resample"],
    "claims": ["claims", "results"],
}
THEORY_FIGURES = {  # by the head of a check's id
    "cliff": ["theory-cliff", "theory-climb"],
    "lemma-1": ["theory-tightness"],
    "prop-1": ["theory-bounds", "theory-model-gap"],
    "prop-2": ["theory-limit", "theory-rejection"],
    "proxy": ["theory-proxy"],
}


def write_pages() -> dict[str, str]:
    """Write every generated page and figure anew, and return the facts that pages name as `{{ fact }}`.

    Raises:
        OSError, UserError: published results are missing or damaged; the message names the file.
    """
    shutil.rmtree(OUT, ignore_errors=True)
    for folder in ("claims", "figures", "api"):
        (OUT / folder).mkdir(parents=True)
    names = {regime_of(load_study(ROOT / f"config/{name}.yaml")): name for name in ("small", "small-true")}
    curves = {regime: pd.read_parquet(REFERENCE / name / "curves.parquet") for regime, name in names.items()}
    verdicts = read_verdicts(names)
    draw.draw_metrics(curves, OUT / "figures")
    write_claims(verdicts, names)
    write_api()
    return facts(names, verdicts) | {"curves": draw.curve_ends(curves)}


def read_verdicts(names: dict[str, str]) -> Verdicts:
    """The published rows; claims about two studies come from the finding, which alone holds them."""
    rows = {
        regime: {row["id"]: row for row in read_json(name, "check.json")["claims"]} for regime, name in names.items()
    }
    for row in pd.read_csv(REFERENCE / "finding/finding.csv", dtype=str, keep_default_na=False).to_dict("records"):
        rows[row["regime"]].setdefault(row["id"], row | {"seeds": "—", "data": None})
    return rows


def write_claims(verdicts: Verdicts, names: dict[str, str]) -> None:
    """A page for each claim, and their index."""
    env = Environment(loader=FileSystemLoader(ROOT / "docs/templates"), undefined=StrictUndefined, trim_blocks=True)
    env.filters["md"], env.globals["rule"] = markdown_text, rule_in_words
    claims, reported = load_claims(), reported_scores()
    for claim in claims:
        rows = {regime: by_id[claim.id] for regime, by_id in verdicts.items() if claim.id in by_id}
        told = {
            regime: reason(claim, row, reported)
            for regime, row in rows.items()
            if isinstance(claim, Theory) or row["data"] is not None
        }
        page = {"claim": claim, "rows": rows, "reasons": told, "studies": [names[regime] for regime in rows]}
        write(f"claims/{claim.id}.md", env.get_template("claim.md").render(page | evidence(claim, rows, reported)))
    write("claims/index.md", env.get_template("claims.md").render(claims=claims, verdicts=verdicts))


def evidence(claim: AnyClaim, rows: dict[str, dict[str, Any]], reported: pd.DataFrame) -> dict[str, Any]:
    """What the page of a claim shows: reported contrasts, checks as a table, and (figure, alternative text)."""
    entries, checks, figures, recomputed = [], None, [], False
    if isinstance(claim, Contrasted):
        labels = [claim.quantity, *map(draw.contrast_label, claim.weights[1:])]
        found = [reported_contrasts(reported, weights, claim.metric) for weights in claim.weights]
        pairs = zip(labels, found, strict=True)
        entries = [(label, [signed(100 * value, 2) for value in values]) for label, values in pairs if len(values)]
        figure = OUT / f"figures/claim-{claim.id}.svg"
        if draw.draw_claim(claim, rows, reported, figure):
            figures = [(figure, f"Differences in points of {claim.metric}, measured and reported: {claim.quantity}")]
        recomputed = claim.subset is None and claim.versus is None and claim.metric != "conversion"
    elif isinstance(claim, Theory):
        table = read_theory(REFERENCE / "small/theory/theory.csv")
        of_claim = pd.concat([covered(table["id"], check) for check in claim.checks], axis=1).any(axis=1)
        checks = to_markdown(theory_table(table[of_claim].drop(columns="id")))
        stems = dict.fromkeys(stem for check in claim.checks for stem in THEORY_FIGURES[check.split(".")[0]])
        folder = REFERENCE / "small/theory"
        figures = [(folder / f"{stem}.png", FIGURES[f"theory/{stem}"]["alt"]) for stem in stems]
    else:
        alt = "Overhead of a step against its share of cliffs, as the benchmarks measure it"
        figures = [(path, alt) for path in sorted((ROOT / "results/bench").glob("*/overhead.png"))]
    figures = [(os.path.relpath(path, OUT / "claims"), alt, draw.pixels(path)) for path, alt in figures]
    return {"reported": entries, "checks": checks, "figures": figures, "recomputed": recomputed}


def write_api() -> None:
    """A page for each package of `API`, and an index with the names that `import hdpo` offers."""
    for package, modules in API.items():
        names = [f"hdpo.{package}.{module}".rstrip(".") for module in modules]
        parts = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in names]
        write(f"api/{package}.md", "\n".join([f"# hdpo.{package}\n", *parts]))
    rows = []
    for name in hdpo.__all__:
        thing = getattr(hdpo, name)
        link = f"[hdpo.{name}](#{thing.__module__}.{name})"
        rows.append((link, with_code((thing.__doc__ or "").strip().splitlines()[0])))
    table = markdown(["name", "what it is"], rows)
    text = (ROOT / "docs/templates/api.md").read_text(encoding="utf-8")
    write("api/index.md", text.replace("NAMES", table).replace("PACKAGES", "\n".join(API)))


def with_code(text: str) -> str:
    """Plain text with `code` as Markdown."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part.startswith("`") else markdown_text(part) for part in parts)


def write(path: str, text: str) -> None:
    (OUT / path).write_text(text, encoding="utf-8")
