"""A made-up study with everything on disk that the PDF and the web page show: results, records, theory, audit."""

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from hdpo.claims.check import write_check
from hdpo.claims.summary import write_summary
from hdpo.render.document import Document, Section, write_document
from hdpo.render.table import Table
from hdpo.report.figures import write_figures
from hdpo.report.gains import write_gains
from hdpo.report.lead import Lead
from hdpo.report.samples import Response, Sampled
from hdpo.report.story import Story
from hdpo.report.tables import write_tables
from hdpo.study.study import Study
from hdpo.system import files
from hdpo.theory.statements import STATEMENTS
from helpers.synthetic import make_study, seal, write_everything

MACHINE = {
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "cpu": "Some CPU",
    "gpu": None,
    "threads": 1,
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
}
AUDIT = Document(
    "The reported numbers, audited",
    (
        Section("", ("What they say.",)),
        Section(
            "Findings",
            tables=(
                Table("audit", "A caption with `code`.", ("finding", "value"), (("a | b", "+1.2"),), ("left", "right")),
            ),
        ),
    ),
)


def write_record(study: Study, run: str, seed: int, /, **changes) -> Path:
    """A run's run.json as training writes it; `changes` replace keys."""
    record = {"started": f"2026-01-0{seed}T10:00:00+00:00", **MACHINE, "resumed_after_step": 0, "seconds": 60.0 + seed}
    return seal(study, run, seed, **record | changes)


def write_theory_table(study: Study, statement: str | None = None, verdict: str = "holds") -> None:
    (study.root / "theory").mkdir(parents=True, exist_ok=True)
    row = {"id": "lemma-1.bound", "statement": statement or STATEMENTS["lemma-1.bound"], "verdict": verdict}
    row |= {"quantity": "KL over π_ref's bound", "expected": 1.0, "measured": 0.98, "error": 0.0, "tolerance": 1e-12}
    pd.DataFrame([row]).to_csv(study.root / "theory" / "theory.csv", index=False)


def write_base(study: Study) -> None:
    """A local base model of 2 · 3 + 4 parameters."""
    folder = Path(study.base_path)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    record = {"commit": "fedcba9876543210", "started": "2026-01-01", "dirty": False}
    files.write_record(folder / "provenance.json", record, [folder / "model.safetensors"])


def write_audit_page(study: Study, *text: str) -> None:
    """An audit with a figure, for which one of the study's stands in; `text` is added below."""
    write_document(study.root / "audit" / "audit", replace(AUDIT, sections=(*AUDIT.sections, Section("", text))))
    for kind in ("png", "pdf"):
        (study.root / "audit" / f"plot.{kind}").write_bytes((study.root / "figures" / f"cliffs.{kind}").read_bytes())


def write_lead(study: Study, sentence: str, identity: str | None = None) -> None:
    """A finding that the study is a part of, with one of its figures as the lead; `identity` falsifies the study's."""
    folder = Path("results/finding")
    folder.mkdir(parents=True, exist_ok=True)
    table = Table(
        "finding-questions", "Asked.", ("question", "here"), (("Is it so?", "mixed\n+1.0"),), ("left", "left")
    )
    lead = Lead({study.name: identity or study.identity}, (sentence,), table)
    files.write_json(folder / "lead.json", asdict(lead))
    for kind in ("png", "pdf"):
        (folder / f"finding.{kind}").write_bytes((study.root / "figures" / f"cliffs.{kind}").read_bytes())
    (folder / "playground.html").write_text("<p>try</p>")


def write_story(study: Study) -> None:
    """The published story of a cliff that the student never solves."""
    failure, rescue = Response(0, 0, False, "2+2=5", []), Response(0, 1, True, "2+2=4", [("2+2=4", 0.1, 3)])
    cliff = Sampled(20, "p1", "cliff", "reach 4", "reach 4, hint 2+2", [failure] * 4, [rescue])
    folder = Path("results/reference") / study.name
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "story.json", asdict(Story("hdpo-frozen-0.1", 1, cliff, rescue, None, None, 7)))


def build(folder: Path) -> Study:
    """The whole made-up study in `folder`, which must be the working directory."""
    study = make_study(folder)
    write_everything(study, effect=0.05)
    write_base(study)
    for run in study.runs:
        for seed in study.seeds:
            write_record(study, run, seed)
    write_theory_table(study)
    write_summary(study)
    write_tables(study)
    write_figures(study)
    write_gains(study)
    reference = folder / "results" / "reference" / study.name / "summary.csv"
    reference.parent.mkdir(parents=True)
    reference.write_bytes((study.root / "summary.csv").read_bytes())
    write_check(study)
    write_audit_page(study)
    return study


def verdicts(study: Study) -> dict[str, int]:
    """Counts by verdict, all kinds together, as check.json has them."""
    counts = json.loads((study.root / "check.json").read_text(encoding="utf-8"))["counts"]
    return dict(sum(map(Counter, counts.values()), Counter()))
