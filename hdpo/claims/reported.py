"""The paper's reported numbers as data, and what they say by themselves."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.render.runs import BASELINE
from hdpo.stats.proportions import difference_se
from hdpo.system.errors import UserError, brief

PAPER = Path(str(files("hdpo"))) / "paper"  # what the paper says, as data, and the text of the report
REPORTED = PAPER / "reported.csv"
HYPERPARAMETERS = PAPER / "hyperparameters.csv"
COLUMNS = {"greedy": "pass_at_1", "pass@4": "pass_at_4", "pass@8": "pass_at_8"}  # the paper's pass@1 is greedy
PROBLEMS = 2048  # the paper's validation problems
DECIMALS = 10_000  # the paper gives four


def reported_scores() -> pd.DataFrame:
    """The paper's Tables 1 and 3: one row per table and run, scores as shares.

    Raises:
        UserError: missing, or not the table this version knows.
    """
    try:
        frame = pd.read_csv(REPORTED, dtype={"lambda": str})
        names = "hdpo-" + frame["teacher"] + "-" + frame["lambda"].astype(float).map("{:g}".format)
        names = names.where(frame["method"] != BASELINE, BASELINE)
        return frame.assign(run=names).astype(dict.fromkeys(COLUMNS.values(), float))
    except OSError as error:
        raise UserError(f"{REPORTED}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"{REPORTED}: not the paper's tables (columns method, teacher, lambda, pass_at_*)") from error


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


def reported_contrasts(reported: pd.DataFrame, weights: Mapping[str, float], metric: str) -> pd.Series:
    """Σ weight · entry by table; empty where the paper has no such run or metric."""
    if metric not in COLUMNS or not set(weights) <= set(reported["run"]):
        return pd.Series(dtype=float)
    entries = reported.pivot(index="table", columns="run", values=COLUMNS[metric])
    return (entries[list(weights)] * pd.Series(weights)).sum(axis=1, skipna=False).dropna()


def attainable(problems: int) -> np.ndarray:
    """Shares of so many problems at four decimals, as whole ten-thousandths, each once."""
    return np.unique(np.rint(np.arange(problems + 1) * DECIMALS / problems)).astype(np.int64)


def on_grid(values: np.ndarray, problems: int) -> np.ndarray:
    """Whether each four-decimal value is a share of so many problems."""
    return np.isin(np.rint(np.asarray(values) * DECIMALS).astype(np.int64), attainable(problems))


def chance_on_grid(problems: int) -> float:
    """Chance that a four-decimal number picked at random is such a share."""
    return attainable(problems).size / (DECIMALS + 1)


def reported_facts(reported: pd.DataFrame) -> pd.DataFrame:
    """What the reported numbers say without any run: their granularity, signs and sampling error."""
    entries = reported.set_index(["run", "table"])[list(COLUMNS.values())]
    fits, grpo, pass_at_8 = on_grid(entries.to_numpy(), PROBLEMS), entries.loc[BASELINE], entries["pass_at_8"]
    gains = pass_at_8.sub(grpo["pass_at_8"], level="table")
    small, (run, table) = gains[[name.endswith("-0.01") for name, _ in gains.index]], gains.idxmax()
    largest = gains[run, table]
    z = largest / difference_se(grpo.loc[table, "pass_at_8"], pass_at_8[run, table], PROBLEMS)
    errors = (grpo.loc[1] * (1 - grpo.loc[1]) / PROBLEMS) ** 0.5
    apart = (entries.xs(1, level="table") - entries.xs(3, level="table")).abs().to_numpy().max()
    facts = [
        ("entries that are multiples of 1/2048 to four decimals", f"{fits.sum()} of {fits.size}"),
        ("chance of that for one random entry", f"{chance_on_grid(PROBLEMS):.3f}"),
        ("λ = 0.01 entries below GRPO on pass@8", f"{(small < 0).sum()} of {len(small)}"),
        ("largest gain on pass@8, points", f"{100 * largest:+.2f}"),
        ("its z, unpaired binomial", f"{z:.2f}"),
    ]
    for name, error in errors.items():
        facts.append((f"binomial standard error of GRPO's {name.replace('_at_', '@')}, points", f"{100 * error:.2f}"))
    facts.append(("largest gap between the two hardware runs of one configuration, points", f"{100 * apart:.2f}"))
    return pd.DataFrame(facts, columns=["reported numbers", "value"])
