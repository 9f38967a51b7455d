"""Audit, part 1: on which grid the reported values lie, and what that says about the estimator behind them.

A share of n problems, each right or wrong, is a multiple of 1/n. Four decimals show this for n up to some thousands:
only about n of the 10,001 four-decimal numbers can occur. An average of finer scores lies on a finer grid.
"""

import numpy as np
import pandas as pd

from hdpo.claims.reported import COLUMNS, PROBLEMS, chance_on_grid, on_grid
from hdpo.stats.passk import pass_at_k
from hdpo.stats.selection import Difficulty

MOST_PROBLEMS = 5000  # above, chance alone lets too many values fit
SIMULATED = (10, 1000)  # evaluations of one sample per problem, which are on the grid by themselves, and of more


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
    for estimator, columns, samples in (
        ("right or wrong per problem (greedy; any of k draws)", list(COLUMNS.values()), (1, 1)),
        ("a random four-decimal number", list(COLUMNS.values()), None),
        ("pass@1 as mean of 8 samples", ["pass_at_1"], (1, 8)),
        ("pass@1 as mean of 16 samples", ["pass_at_1"], (1, 16)),
        ("unbiased pass@4 from 8 samples", ["pass_at_4"], (4, 8)),
        ("unbiased pass@4 from 16 samples", ["pass_at_4"], (4, 16)),
        ("unbiased pass@8 from 16 samples", ["pass_at_8"], (8, 16)),
    ):
        values, share = reported[columns].to_numpy().ravel(), chance_on_grid(PROBLEMS)
        if samples is not None:
            k, n = samples
            draws = (generator.binomial(n, difficulty.draw(PROBLEMS, generator)) for _ in range(SIMULATED[n > 1]))
            share = float(on_grid(np.array([pass_at_k(draw, n, k).mean() for draw in draws]), PROBLEMS).mean())
        row = {"estimator": estimator, "entries": values.size, "found": int(on_grid(values, PROBLEMS).sum())}
        rows.append(row | {"share_on_grid": share, "chance": share**values.size})
    return pd.DataFrame(rows)
