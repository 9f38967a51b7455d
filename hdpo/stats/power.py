"""How large a study would have to be: minimal detectable effects, required seeds and problems, Holm's correction.

The model is that of `hdpo.stats.paired`: differences D [S, Q] with variances between seeds, between problems and for
the rest; the mean over S seeds and Q problems has variance σ_a²/S + σ_b²/Q + σ_e²/(SQ).
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

from hdpo.stats.paired import error_of_mean, mean_squares

MOST = 2**19  # seeds or problems beyond which nobody goes
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_U, _DU = (_NODES + 1) / 2, _WEIGHTS / 2  # quadrature over probabilities


@dataclass(frozen=True)
class Components:
    """Variances of a difference: between seeds σ_a², between problems σ_b², the rest σ_e²."""

    seed: float
    problem: float
    rest: float

    def error(self, seeds: int, problems: int) -> tuple[float, float]:
        """Expected standard error of the mean, and its degrees of freedom, for S ≥ 2 and Q ≥ 2."""
        squares = (self.rest + problems * self.seed, self.rest + seeds * self.problem, self.rest)
        se, df = error_of_mean(*squares, seeds, problems)
        return float(se), float(df)


def variance_components(differences: np.ndarray) -> Components:
    """Analysis-of-variance estimates from D [S, Q], S ≥ 2, negative ones set to 0."""
    S, Q = differences.shape
    seeds, problems, rest = (float(square) for square in mean_squares(differences))
    return Components(max(0.0, (seeds - rest) / Q), max(0.0, (problems - rest) / S), rest)


def power_of(effect: float, se: float, df: float = np.inf, level: float = 0.95) -> float:
    """Chance that a two-sided t-test at `level` finds a true `effect`, in either direction.

    The noncentral t as a normal averaged over the estimated deviation, sqrt(χ²/df) of the true one: library routines
    for its distribution return nan far out.
    """
    if se == 0:
        return float(effect != 0)
    shift, critical = abs(effect) / se, float(student_t.ppf(0.5 + level / 2, df))
    reached = critical * (1.0 if df > 1e6 else np.sqrt(chi2.ppf(_U, df) / df))
    return float(((norm.sf(reached - shift) + norm.cdf(-reached - shift)) * _DU).sum())


def minimal_effect(se: float, df: float = np.inf, power: float = 0.8, level: float = 0.95) -> float:
    """The true effect that such a test finds with this power (exact, by the noncentral t)."""
    if se == 0:
        return 0.0
    upper = 4 * (student_t.ppf(0.5 + level / 2, df) + student_t.ppf(power, df))
    return se * float(brentq(lambda shift: power_of(shift, 1.0, df, level) - power, 0.0, upper))


def required_seeds(
    effect: float, parts: Components, problems: int, power: float = 0.8, level: float = 0.95
) -> int | None:
    """Fewest seeds, at least 2, that find `effect` on so many problems; None where no number does.

    Problems that are not replaced set a floor: σ_b²/Q stays, however many seeds.
    """
    return _fewest(lambda seeds: power_of(effect, *parts.error(seeds, problems), level) >= power)


def required_problems(
    effect: float, parts: Components, seeds: int, power: float = 0.8, level: float = 0.95
) -> int | None:
    """Fewest problems, at least 2, that find `effect` with so many seeds (2 or more); None where no number does."""
    return _fewest(lambda problems: power_of(effect, *parts.error(seeds, problems), level) >= power)


def required_problems_for_shares(
    first: float, second: float, correlation: float = 0.0, power: float = 0.8, level: float = 0.95
) -> int:
    """Problems on which one run of each method tells the shares `first` and `second` apart, sampling error alone.

    (z_{1−α/2} + z_power)² (v₁ + v₂ − 2ρ sqrt(v₁v₂)) / (p₂ − p₁)², rounded up; v = p(1 − p).
    """
    v1, v2 = first * (1 - first), second * (1 - second)
    quantiles = norm.ppf(0.5 + level / 2) + norm.ppf(power)
    return int(np.ceil(quantiles**2 * (v1 + v2 - 2 * correlation * np.sqrt(v1 * v2)) / (second - first) ** 2))


def two_sided_p(estimate: float, se: float, df: float) -> float:
    """p-value of estimate/se against t with df degrees of freedom; nan where the standard error is unknown."""
    if se == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * student_t.sf(abs(estimate) / se, df))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, [m]; nan (not run) stays nan and counts as no test.

    The i-th smallest times m − i + 1, at least the one before it, at most 1: rejecting where it is ≤ α keeps the chance
    of any false rejection at α, whatever the dependence.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p_values, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else []
    return adjusted


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """Smallest whole number from 2 for which `enough`, once true, stays true."""
    found = 2 + bisect_left(range(2, MOST + 1), True, key=enough)
    return found if found <= MOST else None
