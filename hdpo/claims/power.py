"""How large the reference study must be, from development seeds: they are no part of it, nor are test problems.

The development studies hold the same arms on more validation problems. Their differences give the variances between
seeds, between problems and for the rest (`hdpo.stats.power`), and those give the power of the planned study.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hdpo.claims.results import BASELINE, Results
from hdpo.stats.power import minimal_effect, power_of, variance_components
from hdpo.study.study import Study

POWER = 0.9
INTEREST = {"greedy": 0.01, "pass@1": 0.01, "pass@4": 0.008, "pass@8": 0.008}  # effects that the plan must find
COLUMNS = [
    *("study", "difference to GRPO", "metric", "development seeds", "seen", "SD seeds", "SD problems", "SD rest"),
    *("SE planned", "effect", "power", f"effect at power {POWER}"),
]


def power_table(development: Sequence[Study], seeds: int, problems: int) -> pd.DataFrame:
    """One row per development study, arm and metric, in points: what was seen, and the power of the planned study.

    Args:
        seeds: of the planned study.
        problems: test problems of the planned study.
    """
    rows = []
    for study in development:
        results = Results(study)
        for metric, effect in INTEREST.items():
            weights = [{run: 1.0, BASELINE: -1.0} for run in study.runs if run != BASELINE]
            for parts, contrast in zip(weights, results.contrasts("last", metric, weights), strict=True):
                if contrast is None or len(contrast.seeds) < 2:
                    continue
                found = variance_components(contrast.values)
                se, df = found.error(seeds, problems)
                deviations = np.sqrt([found.seed, found.problem, found.rest])
                numbers = [contrast.values.mean(), *deviations, se, effect]
                least = minimal_effect(se, df, POWER)
                row = [study.name, next(iter(parts)), metric, len(contrast.seeds), *(f"{100 * x:.2f}" for x in numbers)]
                rows.append([*row, f"{power_of(effect, se, df):.2f}", f"{100 * least:.2f}"])
    return pd.DataFrame(rows, columns=COLUMNS)
