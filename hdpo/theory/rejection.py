"""Proposition 2, second half: keeping only R = 1 draws from π_ref samples π_ref(·|R=1) exactly.

Three measurable consequences: the empirical distribution approaches the target at n^(−1/2), a
goodness-of-fit test sees nothing (its p-values are uniform), and one accepted draw costs 1/p proposals.
"""

import numpy as np
import pandas as pd
from scipy import stats

from hdpo.system.errors import UserError
from hdpo.theory.bandit import condition_on_success, success_probability
from hdpo.theory.validate import require_count, require_logp


def require_accepted(n_accepted: int) -> int:
    """Return `n_accepted`; raise UserError if the filtered set is empty."""
    if n_accepted == 0:
        raise UserError(
            "the filtered set T is empty: no draw had R = 1, so it defines no distribution; "
            "draw more or give the correct arms more probability"
        )
    return int(n_accepted)


def empirical_target(arms: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Frequencies [A] of the correct ones among the drawn `arms` (whole numbers, any shape).

    Raises UserError if none of them is correct.
    """
    arms = np.asarray(arms).ravel()
    kept = arms[np.asarray(reward)[arms] == 1] if arms.size else arms
    return np.bincount(kept, minlength=np.size(reward)) / require_accepted(kept.size)


def rejection_sample(
    ref_logp: np.ndarray, reward: np.ndarray, n_accept: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw from π_ref until `n_accept` draws have R = 1; return (their arms [n_accept], proposals used).

    Raises UserError if p = 0, in which case it would never end.
    """
    require_count("number of accepted draws", n_accept)
    condition_on_success(ref_logp, reward)  # raises where the target does not exist
    success = success_probability(ref_logp, reward)
    cumulative = np.cumsum(np.exp(ref_logp))
    accepted, n_proposals = np.empty(0, dtype=np.int64), 0
    while accepted.size < n_accept:
        n_missing = n_accept - accepted.size
        uniform = rng.random(int(1.1 * n_missing / success) + 16) * cumulative[-1]
        proposals = np.searchsorted(cumulative, uniform, side="right")
        hits = np.flatnonzero(reward[proposals] == 1)[:n_missing]
        accepted = np.concatenate([accepted, proposals[hits]])
        n_proposals += int(hits[-1]) + 1 if hits.size == n_missing else proposals.size
    return accepted, n_proposals


def convergence(
    ref_logp: np.ndarray, reward: np.ndarray, sizes: list[int], repetitions: int, rng: np.random.Generator
) -> pd.DataFrame:
    """TV between the first n accepted draws and the target: one row per repetition and n in `sizes`."""
    target = np.exp(condition_on_success(ref_logp, reward))
    rows = []
    for repetition in range(repetitions):
        accepted, n_proposals = rejection_sample(ref_logp, reward, max(sizes), rng)
        for n in sizes:
            tv = 0.5 * np.abs(empirical_target(accepted[:n], reward) - target).sum()
            rows.append({"repetition": repetition, "n": n, "tv": tv, "proposals": n_proposals})
    return pd.DataFrame(rows)


def fit_slope(curve: pd.DataFrame, error_rate: float = 1e-3) -> tuple[float, float]:
    """Slope of log TV on log n and the half width of its (1 − `error_rate`) interval.

    One least-squares slope per repetition (independent of each other), then Student's t over repetitions.
    """
    slopes = [np.polyfit(np.log(part["n"]), np.log(part["tv"]), 1)[0] for _, part in curve.groupby("repetition")]
    half_width = stats.t.ppf(1 - error_rate / 2, len(slopes) - 1) * stats.sem(slopes)
    return float(np.mean(slopes)), float(half_width)


def goodness_of_fit(
    ref_logp: np.ndarray,
    reward: np.ndarray,
    hypothesis_logp: np.ndarray,
    n_accept: int,
    repetitions: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Pearson χ² p-values [repetitions] of `n_accept` accepted draws against `hypothesis_logp` [A].

    Uniform on (0, 1) where the hypothesis is the sampled distribution. Raises UserError if the hypothesis
    is not normalised.
    """
    hypothesis = np.exp(require_logp("hypothesised target", hypothesis_logp))
    support = np.flatnonzero(hypothesis)
    p_values = np.empty(repetitions)
    for repetition in range(repetitions):
        accepted, _ = rejection_sample(ref_logp, reward, n_accept, rng)
        counts = np.bincount(accepted, minlength=hypothesis.size)
        if counts[hypothesis == 0].any():
            p_values[repetition] = 0.0  # a draw the hypothesis calls impossible
        else:
            p_values[repetition] = stats.chisquare(counts[support], n_accept * hypothesis[support]).pvalue
    return p_values


def uniformity(p_values: np.ndarray, error_rate: float = 1e-3) -> tuple[float, float]:
    """Kolmogorov–Smirnov distance of `p_values` from uniform, and the distance exceeded at `error_rate`."""
    distance = stats.kstest(p_values, "uniform").statistic
    return float(distance), float(stats.kstwo.ppf(1 - error_rate, p_values.size))


def acceptance_cost(
    ref_logp: np.ndarray,
    reward: np.ndarray,
    n_accept: int,
    rng: np.random.Generator,
    error_rate: float = 1e-3,
) -> dict[str, float]:
    """Proposals per accepted draw: measured, the 1/p it should be, and the margin at `error_rate`.

    The total is a sum of `n_accept` geometric waits, each of variance (1 − p)/p².
    """
    success = success_probability(ref_logp, reward)
    _, n_proposals = rejection_sample(ref_logp, reward, n_accept, rng)
    margin = stats.norm.ppf(1 - error_rate / 2) * np.sqrt((1 - success) / n_accept) / success
    return {"expected": 1 / success, "measured": n_proposals / n_accept, "margin": float(margin)}
