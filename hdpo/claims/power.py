"""How large the reference study must be, from development seeds: they are no part of it, nor are test problems.

The development studies hold the same arms on more validation problems. Their differences give the variances between
seeds, between problems and for the rest (`hdpo.stats.power`), and those give the power of the planned study.
"""

import numpy as np
import pandas as pd

from hdpo.claims.claims import Direction, load_claims
from hdpo.claims.results import BASELINE, Results, unbiased_metrics
from hdpo.render.table import make_table, to_markdown
from hdpo.stats.power import minimal_effect, power_of, variance_components
from hdpo.study.study import Study

POWER = 0.9
COLUMNS = [
    *("difference to GRPO", "metric", "development seeds", "seen", "SD seeds", "SD problems", "SD rest"),
    *("SE planned", "effect", "power", f"effect at power {POWER}"),
]


def power_table(study: Study, seeds: int, problems: int) -> pd.DataFrame:
    """One row per arm and metric of a development study, in points: what was seen, and the power of the planned study.

    Args:
        seeds: of the planned study.
        problems: test problems of the planned study.

    Raises:
        UserError: the study is not published, or a result is damaged.
    """
    interest = {claim.metric: claim.least for claim in load_claims() if isinstance(claim, Direction)}
    rows, results = [], Results(study.model_copy(update={"published": True}))
    runs = [run for run in study.runs if run != BASELINE]
    for metric in unbiased_metrics(study):
        effect = interest[metric]
        contrasts = results.contrasts("last", metric, [{run: 1.0, BASELINE: -1.0} for run in runs])
        for run, contrast in zip(runs, contrasts, strict=True):
            if contrast is None or len(contrast.seeds) < 2:
                continue
            found = variance_components(contrast.values)
            se, df = found.error(seeds, problems)
            deviations = np.sqrt([found.seed, found.problem, found.rest])
            numbers = [contrast.values.mean(), *deviations, se, effect]
            least = minimal_effect(se, df, POWER)
            row = [run, metric, len(contrast.seeds), *(f"{100 * number:.2f}" for number in numbers)]
            rows.append([*row, f"{power_of(effect, se, df):.2f}", f"{100 * least:.2f}"])
    return pd.DataFrame(rows, columns=COLUMNS)


def print_power(study: Study, seeds: int, problems: int) -> None:
    """Print the table as Markdown, with what it rests on."""
    table = make_table("power", power_table(study, seeds, problems), words=COLUMNS[:2])
    print(f"Study {study.name}; planned: {seeds} seeds, {problems} test problems; all but seeds and power in points.\n")
    print(to_markdown(table))
