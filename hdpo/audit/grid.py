"""Audit, part 1: on which grid the reported values lie, and what that says about the estimator behind them.

A share of n problems, each right or wrong, is a multiple of 1/n. Four decimals show this for n up to some thousands:
only about n of the 10,001 four-decimal numbers can occur. An average of finer scores lies on a finer grid.
"""

import numpy as np
import pandas as pd

from hdpo.claims.reported import COLUMNS, PROBLEMS
from hdpo.stats.passk import pass_at_k
from hdpo.stats.selection import Difficulty

DECIMALS = 10_000
MOST_PROBLEMS = 5000  # above, chance alone lets too many values fit
SIMULATED = 1000  # evaluations per alternative


def attainable(problems: int) -> np.ndarray:
    """Shares of so many problems at four decimals, as whole ten-thousandths, each once."""
    return np.unique(np.rint(np.arange(problems + 1) * DECIMALS / problems)).astype(np.int64)


def on_grid(values: np.ndarray, problems: int) -> np.ndarray:
    """Whether each four-decimal value is a share of so many problems."""
    return np.isin(np.rint(np.asarray(values) * DECIMALS).astype(np.int64), attainable(problems))


def chance_on_grid(problems: int) -> float:
    """Chance that a four-decimal number picked at random is such a share."""
    return attainable(problems).size / (DECIMALS + 1)


def compatible_sizes(values: np.ndarray, most: int = MOST_PROBLEMS) -> pd.DataFrame:
    """Columns problems (1 … most), on_grid (how many values fit) and expected (how many would, picked at random)."""
    rows = [(n, int(on_grid(values, n).sum()), chance_on_grid(n) * np.size(values)) for n in range(1, most + 1)]
    return pd.DataFrame(rows, columns=["problems", "on_grid", "expected"])


def granularity(reported: pd.DataFrame, difficulty: Difficulty, generator: np.random.Generator) -> pd.DataFrame:
    """The grid of 1/2048 against estimators that could have been used.

    Columns: estimator; entries (how many reported values it may explain); share_on_grid (of its own values, simulated
    on 2048 problems of `difficulty` and rounded to four decimals); found (entries on the grid); chance (that all of
    them are).
    """
    rows = []
    for estimator, columns, k, n in (
        ("right or wrong per problem (greedy; any of k draws)", list(COLUMNS.values()), 1, 1),
        ("a random four-decimal number", list(COLUMNS.values()), None, None),
        ("pass@1 as mean of 8 samples", ["pass_at_1"], 1, 8),
        ("pass@1 as mean of 16 samples", ["pass_at_1"], 1, 16),
        ("unbiased pass@4 from 8 samples", ["pass_at_4"], 4, 8),
        ("unbiased pass@4 from 16 samples", ["pass_at_4"], 4, 16),
        ("unbiased pass@8 from 16 samples", ["pass_at_8"], 8, 16),
    ):
        values = reported[columns].to_numpy().ravel()
        if n is None:
            share = chance_on_grid(PROBLEMS)
        else:
            share = float(on_grid(_simulated_scores(difficulty, k, n, generator), PROBLEMS).mean())
        row = {"estimator": estimator, "entries": values.size, "found": int(on_grid(values, PROBLEMS).sum())}
        rows.append(row | {"share_on_grid": share, "chance": share**values.size})
    return pd.DataFrame(rows)


def _simulated_scores(difficulty: Difficulty, k: int, n: int, generator: np.random.Generator) -> np.ndarray:
    """Means of unbiased pass@k from n samples over 2048 problems, for as many problem sets as SIMULATED."""
    return np.array(
        [
            pass_at_k(generator.binomial(n, difficulty.draw(PROBLEMS, generator)), n, k).mean()
            for _ in range(SIMULATED if n > 1 else 10)
        ]
    )
