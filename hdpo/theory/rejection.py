"""Proposition 2, second half: keeping only R = 1 draws from π_ref samples π_ref(·|R=1) exactly.

Three measurable consequences: the empirical distribution approaches the target at n^(−1/2), a
goodness-of-fit test sees nothing (its p-values are uniform), and one accepted draw costs 1/p proposals.
"""

import numpy as np
import pandas as pd
from numpy.random import Generator
from scipy import stats

from hdpo.theory.bandit import condition_on_success, example_bandit, success_probability
from hdpo.theory.divergences import log_softmax, require_count, require_logp
from hdpo.theory.statements import ERROR_RATE, QUANTILE, row


def rejection_sample(ref_logp: np.ndarray, reward: np.ndarray, n_accept: int, rng: Generator) -> tuple[np.ndarray, int]:
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
    ref_logp: np.ndarray, reward: np.ndarray, sizes: list[int], repetitions: int, rng: Generator
) -> pd.DataFrame:
    """TV between the first n accepted draws and the target: a row per repetition, a column per n in `sizes`."""
    target = np.exp(condition_on_success(ref_logp, reward))
    rows = []
    for _ in range(repetitions):
        accepted, _ = rejection_sample(ref_logp, reward, max(sizes), rng)
        shares = [np.bincount(accepted[:n], minlength=target.size) / n for n in sizes]
        rows.append(0.5 * np.abs(shares - target).sum(axis=1))
    return pd.DataFrame(rows, columns=sizes)


def fit_slope(curve: pd.DataFrame) -> tuple[float, float]:
    """Slope of log TV on log n in a frame of `convergence`, and the half width of its (1 − `ERROR_RATE`) interval.

    One least-squares slope per repetition (independent of each other), then Student's t over repetitions.
    """
    slopes = np.polyfit(np.log(curve.columns.astype(float)), np.log(curve.T), 1)[0]
    half_width = stats.t.ppf(1 - ERROR_RATE / 2, len(slopes) - 1) * stats.sem(slopes)
    return float(np.mean(slopes)), float(half_width)


def goodness_of_fit(
    ref_logp: np.ndarray, reward: np.ndarray, hypothesis: np.ndarray, n_accept: int, repetitions: int, rng: Generator
) -> np.ndarray:
    """Pearson χ² p-values [repetitions] of `n_accept` accepted draws against log-probabilities `hypothesis` [A].

    Uniform on (0, 1) where the hypothesis is the sampled distribution. Raises UserError if the hypothesis
    is not normalised.
    """
    hypothesis = np.exp(require_logp("hypothesised target", hypothesis))
    support = np.flatnonzero(hypothesis)
    draws = (rejection_sample(ref_logp, reward, n_accept, rng)[0] for _ in range(repetitions))
    counts = np.array([np.bincount(arms, minlength=hypothesis.size) for arms in draws])  # [repetitions, A]
    p_values = np.zeros(repetitions)  # 0 where the hypothesis calls a draw impossible
    possible = (counts[:, hypothesis == 0] == 0).all(axis=1)
    p_values[possible] = stats.chisquare(counts[possible][:, support], n_accept * hypothesis[support], axis=1).pvalue
    return p_values


def uniformity(p_values: np.ndarray) -> tuple[float, float]:
    """Kolmogorov–Smirnov distance of `p_values` from uniform, and the distance exceeded at `ERROR_RATE`."""
    return float(stats.kstest(p_values, "uniform").statistic), float(stats.kstwo.ppf(1 - ERROR_RATE, p_values.size))


def rejection_curves() -> tuple[pd.DataFrame, np.ndarray]:
    """On the example bandit: 100 repetitions of `convergence`, and 500 p-values of accepted draws for the target."""
    bandit, sizes = example_bandit(), [30, 100, 300, 1000, 3000, 10_000]
    ref, reward, target = bandit.student_logp(), bandit.reward, bandit.target_logp()
    tv = convergence(ref, reward, sizes, 100, np.random.default_rng(22))
    return tv, goodness_of_fit(ref, reward, target, 1000, 500, np.random.default_rng(23))


def rejection_rows() -> list[dict]:
    """R = 1 rejection sampling: rate, fit and cost, each tested at the error rate of the table."""
    bandit, rng = example_bandit(), np.random.default_rng(1)
    ref, reward = bandit.student_logp(), bandit.reward
    slope, half_width = fit_slope(convergence(ref, reward, [100, 400, 1600, 6400], 200, rng))
    distance, critical = uniformity(goodness_of_fit(ref, reward, bandit.target_logp(), 1000, 1000, rng))
    tilted = condition_on_success(log_softmax(ref + 0.3 * np.eye(ref.size)[0]), reward)
    wrong_distance, wrong_critical = uniformity(goodness_of_fit(ref, reward, tilted, 1000, 200, rng))
    success, n_accept = success_probability(ref, reward), 50_000
    cost = rejection_sample(ref, reward, n_accept, rng)[1] / n_accept
    margin = QUANTILE * np.sqrt((1 - success) / n_accept) / success  # of the mean of geometric waits
    return [
        row("prop-2.rejection", "slope of log TV on log n, 200 repetitions", -0.5, slope, half_width, name="rate"),
        row("prop-2.rejection", "KS distance of 1000 χ² p-values from uniform", 0, distance, critical, name="fit"),
        row("prop-2.fit-test", "KS distance of 200 p-values", wrong_critical, wrong_distance, 0, "at least"),
        row("prop-2.cost", "proposals per accepted draw", 1 / success, cost, margin),
    ]
