"""Audit of the paper's reported numbers: what they support, and under which assumptions. Needs no run."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from hdpo.audit.figures import draw_figures
from hdpo.audit.findings import findings
from hdpo.audit.grid import compatible_sizes, granularity
from hdpo.audit.recomputed import quoted_ends, quoted_ranges, recomputed_claims
from hdpo.audit.significance import both_tables, differences, reported_difficulty, required_sizes, selection_bias
from hdpo.audit.tables import SECTIONS, audit_tables
from hdpo.audit.tail import tail_checks
from hdpo.claims.claims import load_claims
from hdpo.claims.reported import COLUMNS, PROBLEMS, reported_scores
from hdpo.render.document import Document, Section, write_document
from hdpo.render.style import save_figure
from hdpo.render.table import make_table, write_table, write_text
from hdpo.study.study import Study

SEED = 0
CORRELATIONS = (0.0, 0.5, 0.9)  # lag-one, of a training curve's noise
VALIDATION_SIZES = (256, PROBLEMS)
INTRODUCTION = (
    "This audit uses the paper's two tables of results and nothing else. It asks what the numbers themselves support,"
    " under assumptions that each table states. Every entry is one training run with one seed, the best of its"
    " evaluations."
)


def audit() -> SimpleNamespace:
    """Every table of the audit as numbers, a data frame each, with the beta `difficulty` that some of them assume.

    Worked out from hdpo/paper/reported.csv and hdpo/paper/claims.yaml.

    Raises:
        UserError: one of them is missing or not what this version knows.
    """
    reported, claims = reported_scores(), load_claims()
    difficulty = reported_difficulty(reported)
    recomputed, significance = recomputed_claims(reported, claims), differences(reported, difficulty)
    return SimpleNamespace(
        difficulty=difficulty,
        sizes=compatible_sizes(reported[list(COLUMNS.values())].to_numpy().ravel()),
        granularity=granularity(reported, difficulty, np.random.default_rng(SEED)),
        claims_recomputed=recomputed,
        quoted=quoted_ranges(recomputed, claims),
        quoted_ends=quoted_ends(recomputed, claims),
        significance=significance,
        significance_both=both_tables(reported),
        required=required_sizes(significance),
        selection=selection_bias(difficulty, CORRELATIONS, VALIDATION_SIZES),
        tail=tail_checks(SEED),
    )


def write_audit(out: Path) -> None:
    """Write audit.json, .md and .csv (findings), each table as .csv, .json, .md and .tex, and the figures.

    Raises:
        UserError: the paper's numbers or claims are missing or not what this version knows.
    """
    result = audit()
    summary, tables = findings(result), audit_tables(result)
    for name, (numbers, table) in tables.items():
        write_table(out / name, numbers, table)
    found = make_table("findings", summary, words=summary.columns)
    sections = [Section("", (INTRODUCTION,)), Section("Findings", tables=(found,))]
    sections += [Section(title, tables=tuple(tables[name][1] for name in names)) for title, names in SECTIONS.items()]
    write_document(out / "audit", Document("The reported numbers, audited", tuple(sections)))
    write_text(out / "audit.csv", summary.to_csv(index=False))
    for name, figure in draw_figures(result).items():
        save_figure(figure, out / name)


def write_study_audit(study: Study) -> None:
    """`write_audit` into a study's results; the audit itself depends on no study."""
    write_audit(study.root / "audit")
