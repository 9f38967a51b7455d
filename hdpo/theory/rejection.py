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


def empirical_target(arms: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Frequencies [A] of the correct ones among the drawn `arms` [n].

    Raises UserError if none of them is correct.
    """
    kept = arms[reward[arms] == 1]
    if kept.size == 0:
        raise UserError(
            "the filtered set T is empty: no draw had R = 1, so it defines no distribution; "
            "draw more or give the correct arms more probability"
        )
    return np.bincount(kept, minlength=reward.size) / kept.size


def rejection_sample(
    ref_logp: np.ndarray, reward: np.ndarray, n_accept: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw from π_ref until `n_accept` draws have R = 1; return (their arms [n_accept], proposals used).

    Raises UserError if p = 0, in which case it would never end.
    """
    require_count("number of accepted draws", n_accept)
    condition_on_success(ref_logp, reward)  # raises where the target does not exist
    success = success_probability(ref_logp, reward)
    accepted, n_proposals = np.empty(0, dtype=np.int64), 0
    while accepted.size < n_accept:
        n_missing = n_accept - accepted.size
        proposals = rng.choice(ref_logp.size, size=int(1.1 * n_missing / success) + 16, p=np.exp(ref_logp))
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
        accepted, _ = rejection_sample(ref_logp, reward, max(sizes), rng)
        for n in sizes:
            tv = 0.5 * np.abs(empirical_target(accepted[:n], reward) - target).sum()
            rows.append({"repetition": repetition, "n": n, "tv": tv})
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
    draws = (rejection_sample(ref_logp, reward, n_accept, rng)[0] for _ in range(repetitions))
    counts = np.array([np.bincount(arms, minlength=hypothesis.size) for arms in draws])  # [repetitions, A]
    p_values = np.zeros(repetitions)  # 0 where the hypothesis calls a draw impossible
    possible = (counts[:, hypothesis == 0] == 0).all(axis=1)
    p_values[possible] = stats.chisquare(counts[possible][:, support], n_accept * hypothesis[support], axis=1).pvalue
    return p_values


def uniformity(p_values: np.ndarray, error_rate: float = 1e-3) -> tuple[float, float]:
    """Kolmogorov–Smirnov distance of `p_values` from uniform, and the distance exceeded at `error_rate`."""
    distance = stats.kstest(p_values, "uniform").statistic
    return float(distance), float(stats.kstwo.ppf(1 - error_rate, p_values.size))
