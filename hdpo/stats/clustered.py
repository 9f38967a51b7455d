"""Clustered standard errors of a mean: scores of one problem, or of one seed, are not independent of each other.

Every seed meets every problem, so clusters are equally large, and the clustered error is that of the clusters' means.

Source: Liang and Zeger (1986); for evaluations, Miller, "Adding Error Bars to Evals" (arXiv:2411.00640).
"""

import numpy as np
from scipy.stats import sem


def seed_se(scores: np.ndarray) -> float:
    """Standard error of the mean of scores [S, Q], S ≥ 2, clustered by seed: for other seeds on the *same* problems."""
    return float(sem(scores.mean(axis=1)))


def problem_se(scores: np.ndarray) -> float:
    """Standard error of the mean of scores [S, Q], clustered by problem: for other problems and the *same* seeds."""
    return float(sem(scores.mean(axis=0)))


def two_way_se(scores: np.ndarray) -> float:
    """Standard error of the mean of scores [S, Q], clustered by seed and by problem: for other seeds and problems.

    V_seed + V_problem − V_cell; where cells outweigh one of the others, the larger of the two one-way errors.

    Source: Cameron, Gelbach and Miller, "Robust inference with multiway clustering" (2011).
    """
    seed, problem, cell = seed_se(scores), problem_se(scores), sem(scores, axis=None)
    return float(np.sqrt(max(seed**2 + problem**2 - cell**2, seed**2, problem**2)))
