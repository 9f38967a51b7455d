"""The paper's reported numbers as data, and what they say by themselves."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.system.errors import UserError, brief

PAPER = Path(str(files("hdpo"))) / "paper"  # what the paper says, as data, and the text of the report
REPORTED = PAPER / "reported.csv"
HYPERPARAMETERS = PAPER / "hyperparameters.csv"
COLUMNS = {"greedy": "pass_at_1", "pass@4": "pass_at_4", "pass@8": "pass_at_8"}  # the paper's pass@1 is greedy
PROBLEMS = 2048  # the paper's validation problems


def reported_scores(path: Path | None = None) -> pd.DataFrame:
    """The paper's Tables 1 and 3: one row per table and run, scores as shares.

    Raises:
        UserError: missing, or not the table this version knows.
    """
    path = path or REPORTED
    try:
        frame = pd.read_csv(path, dtype={"lambda": str})
        names = [
            "grpo" if row.method == "grpo" else f"hdpo-{row.teacher}-{float(row.weight):g}"
            for row in frame.rename(columns={"lambda": "weight"}).itertuples()
        ]
        return frame.assign(run=names).astype(dict.fromkeys(COLUMNS.values(), float))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{path}: not the paper's tables (columns method, teacher, lambda, pass_at_*)") from error


def reported_hyperparameters() -> pd.DataFrame:
    """The paper's Table 2, all as text: key, group, hyperparameter, value, source.

    `source` is the place in the paper, `[base]` for a default of the paper's base framework where the paper is
    silent, or `not stated`.

    Raises:
        UserError: the table cannot be read.
    """
    try:
        return pd.read_csv(HYPERPARAMETERS, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{HYPERPARAMETERS}: cannot be read ({brief(error)})") from error


def reported_score(reported: pd.DataFrame, table: int, run: str, metric: str) -> float | None:
    """One entry, None where the paper has no such run or metric."""
    rows = reported[(reported["table"] == table) & (reported["run"] == run)]
    return float(rows[COLUMNS[metric]].iloc[0]) if metric in COLUMNS and len(rows) else None


def reported_facts(reported: pd.DataFrame) -> pd.DataFrame:
    """What the reported numbers say without any run: their granularity, signs and sampling error."""
    scores = reported[list(COLUMNS.values())].to_numpy()
    on_grid = np.isclose(np.round(scores * PROBLEMS) / PROBLEMS, scores, atol=0.5e-4 + 1e-9)
    grid = np.round(np.arange(PROBLEMS + 1) / PROBLEMS, 4)
    by_chance = len(np.unique(grid)) / 10_001
    grpo = reported[reported["run"] == "grpo"].set_index("table")["pass_at_8"]
    small = reported[reported["run"].str.endswith("-0.01")]
    below = int((small["pass_at_8"].to_numpy() < grpo.loc[small["table"]].to_numpy()).sum())
    gains = reported["pass_at_8"].to_numpy() - grpo.loc[reported["table"]].to_numpy()
    largest, base = int(np.argmax(gains)), grpo.loc[reported["table"]].to_numpy()
    pair = [scores[largest, 2], base[largest]]
    z = gains[largest] / np.sqrt(sum(p * (1 - p) / PROBLEMS for p in pair))
    spread = {column: np.sqrt(grpo_p * (1 - grpo_p) / PROBLEMS) for column, grpo_p in _grpo_row(reported).items()}
    twice = reported.pivot(index="run", columns="table", values=list(COLUMNS.values()))
    apart = max(float((twice[column][1] - twice[column][3]).abs().max()) for column in COLUMNS.values())
    facts = [
        ("entries that are multiples of 1/2048 to four decimals", f"{on_grid.sum()} of {on_grid.size}"),
        ("chance of that for one random entry", f"{by_chance:.3f}"),
        ("λ = 0.01 entries below GRPO on pass@8", f"{below} of {len(small)}"),
        ("largest gain on pass@8, points", f"{100 * gains[largest]:+.2f}"),
        ("its z, unpaired binomial", f"{z:.2f}"),
        *((f"binomial standard error of GRPO's {name}, points", f"{100 * se:.2f}") for name, se in spread.items()),
        ("largest gap between the two hardware runs of one configuration, points", f"{100 * apart:.2f}"),
    ]
    return pd.DataFrame(facts, columns=["reported numbers", "value"])


def _grpo_row(reported: pd.DataFrame) -> dict[str, float]:
    first = reported[(reported["table"] == 1) & (reported["run"] == "grpo")].iloc[0]
    return {column.replace("_at_", "@"): float(first[column]) for column in COLUMNS.values()}
