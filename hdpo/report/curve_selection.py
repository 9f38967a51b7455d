"""Selection on the maximum, estimated from a study's own curves.

The optimism of "best over training" is the part of the best evaluation's lead that is luck on those problems. Other
problems are not lucky at the same evaluation. So with v_e and d_e the validation and development scores of evaluation
e, and best = argmax v_e:

    optimism = (v_best − mean v) − (d_best − mean d)

Means are over the evaluations after step 0; a rise that is real shows on both problem sets and cancels.
"""

import numpy as np
import pandas as pd

from hdpo.claims.results import Results, metric_names
from hdpo.stats.selection import maximum_moments

COLUMNS = ["run", "metric", "seeds", "evaluations", "best", "last", "selected", "optimism", "noise", "lag1", "expected"]
SHORTEST = 8  # evaluations from which on a curve says something about its autocorrelation


def optimism(validation: np.ndarray, development: np.ndarray) -> float:
    """Lead of the best validation score that does not show on the development problems, from curves [E] each."""
    best = int(np.argmax(validation))
    return float((validation[best] - validation.mean()) - (development[best] - development.mean()))


def detrended(curve: np.ndarray) -> np.ndarray:
    """Residuals [E] of a straight line through the curve; empty for fewer than three evaluations."""
    at = np.arange(curve.size)
    return curve - np.polyval(np.polyfit(at, curve, 1), at) if curve.size > 2 else np.array([])


def noise_sd(curve: np.ndarray) -> float:
    """Standard deviation of one evaluation around the straight line, nan for fewer than three evaluations."""
    rest = detrended(curve)
    return float(np.sqrt((rest**2).sum() / (rest.size - 2))) if rest.size > 2 else float("nan")


def lag_one(curve: np.ndarray) -> float:
    """Lag-one autocorrelation around the straight line; nan for short curves, biased towards −1/E for all."""
    rest = detrended(curve)
    if rest.size < SHORTEST or not (rest**2).sum() > 0:
        return float("nan")
    return float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())


def curve_selection(results: Results) -> pd.DataFrame:
    """One row per run × metric with curves: best, last and selected (means over seeds), the optimism of best and its
    expectation for a flat curve with the curve's own noise, independent between evaluations.
    """
    rows = []
    for metric in metric_names(results.study):
        chosen = [results.scores(protocol, metric) for protocol in ("best", "last", "selected")]
        for run in [run for run in results.runs if run in chosen[0]]:
            curves = [curve for (name, _), curve in results.training.items() if name == run]
            pairs = [(c["validation"].means(metric), c["development"].means(metric)) for c in curves]
            evaluations = pairs[0][0].size
            noise = _mean([noise_sd(validation) ** 2 for validation, _ in pairs]) ** 0.5
            means = [_mean([score.mean() for score in scores[run].values()]) for scores in chosen]
            lead, lag = _mean([optimism(*pair) for pair in pairs]), _mean([lag_one(pair[0]) for pair in pairs])
            expected = noise * float(maximum_moments(evaluations)[0][-1])
            rows.append((run, metric, len(curves), evaluations, *means, lead, noise, lag, expected))
    return pd.DataFrame(rows, columns=COLUMNS)


def _mean(values: list[float]) -> float:
    """Mean of the values that are there, nan if none is."""
    return float(pd.Series(values, dtype=float).mean())
