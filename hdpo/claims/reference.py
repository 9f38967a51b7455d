"""A fresh run against the committed one: same configuration, so the same numbers up to hardware and luck."""

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from hdpo.claims.sources import REFERENCE
from hdpo.render.formats import beside, number, percent
from hdpo.study.study import Study
from hdpo.system.errors import UserError

COMPARED = ["run", "metric", "protocol", "seeds", "problems", "mean", "mean_high", "seed_sd", "config"]
COMPARISON_RULE = (
    "Test problems, final weights. A fresh mean agrees if it lies within the 95 % t interval of the difference between"
    " two means over seeds, t · sqrt(sd²/S + sd²/S) with df degrees of freedom, or within one problem in a seed; where"
    " there are no two seeds (the base model), within the two means' combined intervals."
)


def compare_with_reference(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """One row per run × metric of the committed run, empty if none is committed.

    Raises:
        UserError: the committed summary is not one.
    """
    path = REFERENCE / study.name / "summary.csv"
    if not path.exists():
        return pd.DataFrame()
    try:
        committed = pd.read_csv(path)[COMPARED]
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: not a summary of this version (columns {', '.join(COMPARED)})") from error
    pairs = committed.merge(summary, on=["run", "metric", "protocol"], how="left", suffixes=("_reference", ""))
    rows = []
    for row in pairs[pairs["protocol"] == "test"].to_dict("records"):
        tolerance, df = _tolerance(row)
        shown = {"reference": percent(row["mean_reference"]), "fresh": percent(row["mean"])}
        shown |= {"tolerance": number(100 * tolerance, ".1f") + beside(df), "result": _result(row, tolerance)}
        rows.append({"run": row["run"], "metric": row["metric"]} | shown)
    return pd.DataFrame(rows)


def _tolerance(row: dict) -> tuple[float, float]:
    """How far a fresh mean may lie off, and the degrees of freedom of that; nan where it adds two intervals."""
    seeds, spread = ([row[name], row[f"{name}_reference"]] for name in ("seeds", "seed_sd"))
    if not np.isnan(spread).any():
        df, error = sum(seeds) - 2, np.sqrt(sum(sd**2 / count for sd, count in zip(spread, seeds, strict=True)))
        one_problem = 1 / (row["problems_reference"] * min(seeds))
        return float(max(student_t.ppf(0.975, df) * error, one_problem)), df
    ends = (row["mean_high"] - row["mean"], row["mean_high_reference"] - row["mean_reference"])
    return float(np.hypot(*ends)), np.nan


def _result(row: dict, tolerance: float) -> str:
    off = row["mean"] - row["mean_reference"]
    if np.isnan(off):
        return "not run"
    if row["config"] != row["config_reference"]:
        return "another configuration"
    if abs(off) < 1e-6:
        return "identical"
    if np.isnan(tolerance):
        return "no interval (1 seed)"
    return "agrees" if abs(off) <= tolerance else "differs"
