"""Robust summaries of runs as in rliable: interquartile mean and probability of improvement.

Written out, because the package's own random state does not reach its bootstrap. Scores are [..., S, Q]: S runs
(seeds) and Q tasks (here, problems); leading axes are resamples.

Source: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv:2108.13264).
"""

import numpy as np


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all S·Q scores, runs and tasks together: [..., S, Q] gives [...].

    A quarter of them, rounded down, is left out at each end. On 0-or-1 scores it says little: it is 1 wherever three
    quarters are solved. On pass@k from many samples it is the mean of the problems that are neither always nor never
    solved.
    """
    scores = np.asarray(scores, dtype=np.float64)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = int(0.25 * flat.shape[-1])
    mean: np.ndarray = flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)
    return mean


def probability_of_improvement(scores: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Chance that a run is better than a run of the baseline on the same task, averaged over tasks; ties count half.

    Mann and Whitney's U per task over S·S' pairs of runs, divided by their number.

    Args:
        scores: [..., S, Q].
        baseline: [..., S', Q].

    Returns:
        [...]; 0.5 for equal methods.
    """
    scores, baseline = np.asarray(scores), np.asarray(baseline)
    first, second = scores[..., :, None, :], baseline[..., None, :, :]
    wins: np.ndarray = (first > second).mean(axis=(-3, -2, -1)) + (first >= second).mean(axis=(-3, -2, -1))
    return wins / 2
