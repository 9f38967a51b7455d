"""Clustered standard errors of a mean: scores of one problem, or of one seed, are not independent of each other."""

import numpy as np


def clustered_se(values: np.ndarray, clusters: np.ndarray) -> float:
    """Standard error of the mean of N values that are independent between clusters only.

    sqrt(C/(C−1) · Σ_c (Σ_{i in c} (x_i − x̄))²) / N for C clusters; with one value per cluster it is sd/√N.

    Args:
        values: [N].
        clusters: a label for each, [N].

    Returns:
        nan with fewer than two clusters.

    Source: Liang and Zeger (1986); for evaluations, Miller, "Adding Error Bars to Evals" (arXiv:2411.00640).
    """
    values = np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(index.max()) + 1
    if count < 2:
        return float("nan")
    sums = np.bincount(index, weights=values - values.mean())
    return float(np.sqrt(count / (count - 1) * (sums**2).sum()) / values.size)


def seed_se(scores: np.ndarray) -> float:
    """Standard error of the mean of scores [S, Q], clustered by seed: for other seeds on the *same* problems."""
    S, Q = scores.shape
    return clustered_se(scores.ravel(), np.repeat(np.arange(S), Q))


def problem_se(scores: np.ndarray) -> float:
    """Standard error of the mean of scores [S, Q], clustered by problem: for other problems and the *same* seeds."""
    S, Q = scores.shape
    return clustered_se(scores.ravel(), np.tile(np.arange(Q), S))


def two_way_se(scores: np.ndarray) -> float:
    """Standard error of the mean of scores [S, Q], clustered by seed and by problem: for other seeds and problems.

    V_seed + V_problem − V_cell; where cells outweigh one of the others, the larger of the two one-way errors.

    Source: Cameron, Gelbach and Miller, "Robust inference with multiway clustering" (2011).
    """
    seed, problem = seed_se(scores), problem_se(scores)
    cell = clustered_se(scores.ravel(), np.arange(scores.size))
    variance = max(seed**2 + problem**2 - cell**2, seed**2, problem**2)
    return float(np.sqrt(variance))
