"""Audit of the paper's reported numbers: what they support, and under which assumptions. Needs no run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.audit.figures import draw_figures
from hdpo.audit.findings import findings
from hdpo.audit.grid import compatible_sizes, granularity
from hdpo.audit.recomputed import quoted_ends, quoted_ranges, recomputed_claims
from hdpo.audit.significance import (
    both_tables,
    differences,
    reported_difficulty,
    required_sizes,
    selection_bias,
)
from hdpo.audit.tables import SECTIONS, blocks
from hdpo.audit.tail import tail_checks
from hdpo.claims.claims import load_claims
from hdpo.claims.reported import COLUMNS, PROBLEMS, reported_scores
from hdpo.render.formats import markdown, write_table, write_text
from hdpo.stats.selection import Difficulty
from hdpo.study.study import Study

SEED = 0
CORRELATIONS = (0.0, 0.5, 0.9)  # lag-one, of a training curve's noise
VALIDATION_SIZES = (256, PROBLEMS)


@dataclass(frozen=True)
class Audit:
    """Every table of the audit as numbers, and the beta difficulty that some of them assume."""

    difficulty: Difficulty
    sizes: pd.DataFrame
    granularity: pd.DataFrame
    claims: pd.DataFrame
    quoted: pd.DataFrame
    ends: pd.DataFrame
    significance: pd.DataFrame
    both: pd.DataFrame
    required: pd.DataFrame
    selection: pd.DataFrame
    tail: pd.DataFrame


def audit() -> Audit:
    """Work everything out from hdpo/paper/reported.csv and hdpo/paper/claims.yaml.

    Raises:
        UserError: one of them is missing or not what this version knows.
    """
    reported, claims = reported_scores(), load_claims()
    difficulty = reported_difficulty(reported)
    recomputed, significance = recomputed_claims(reported, claims), differences(reported, difficulty)
    return Audit(
        difficulty=difficulty,
        sizes=compatible_sizes(reported[list(COLUMNS.values())].to_numpy().ravel()),
        granularity=granularity(reported, difficulty, np.random.default_rng(SEED)),
        claims=recomputed,
        quoted=quoted_ranges(recomputed, claims),
        ends=quoted_ends(recomputed, claims),
        significance=significance,
        both=both_tables(reported),
        required=required_sizes(significance),
        selection=selection_bias(difficulty, CORRELATIONS, VALIDATION_SIZES),
        tail=tail_checks(SEED),
    )


def write_audit(out: Path) -> list[Path]:
    """Write audit.md and audit.csv (findings), each table as .csv, .md and .tex, and the figures as PNG and PDF.

    Raises:
        UserError: the paper's numbers or claims are missing or not what this version knows.
    """
    out, result = Path(out), audit()
    summary, tables = findings(result), blocks(result)
    page = f"# The reported numbers, audited\n\n{INTRODUCTION}\n\n## Findings\n\n{markdown(summary)}\n"
    for section, names in SECTIONS.items():
        page += f"\n## {section}\n"
        for name in names:
            data, caption, shown = tables[name]
            write_table(out / name, data, [(caption, shown)])
            page += f"\n**{caption}**\n\n{markdown(shown)}\n"
    write_text(out / "audit.md", page)
    write_text(out / "audit.csv", summary.to_csv(index=False))
    figures = draw_figures(result, out)
    kinds = [out / f"{name}.{kind}" for name in tables for kind in ("csv", "md", "tex")]
    return sorted([out / "audit.md", out / "audit.csv", *kinds, *figures])


INTRODUCTION = (
    "From the two tables of results that the paper prints, and nothing else: what the numbers themselves support, under"
    " assumptions that each table states. Every entry is one training run with one seed, the best of its evaluations."
)


def write_study_audit(study: Study) -> list[Path]:
    """`write_audit` into a study's results; the audit itself depends on no study."""
    return write_audit(study.root / "audit")
