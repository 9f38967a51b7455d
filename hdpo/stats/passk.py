"""pass@k from n recorded samples per problem: the unbiased estimator, and the paper's any-of-k."""

from math import comb

import numpy as np
from numpy.typing import NDArray

from hdpo.system.errors import UserError


def pass_at_k(correct: np.ndarray, n: int, k: int) -> NDArray[np.float64]:
    """Unbiased pass@k per problem: 1 − C(n−c, k) / C(n, k), the share of k-subsets that hold a success.

    Counts are few, so the n + 1 possible values are worked out once in whole numbers and looked up: exact to the
    last bit for any n, where a product of ratios would round at each factor.

    Args:
        correct: number of correct samples c of each problem, whole numbers in 0..n, any shape.
        n: samples drawn per problem.
        k: samples a user would draw.

    Returns:
        float64 of the shape of `correct`; its mean over problems is the unbiased pass@k of the set.

    Raises:
        UserError: k is not in 1..n, or a count is not in 0..n.

    Source: Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv:2107.03374), equation 1.
    """
    _require_k(k, n)
    correct = np.asarray(correct)
    if correct.size and not (correct == np.clip(np.round(correct), 0, n)).all():
        raise UserError(f"pass@{k}: counts of correct samples must be whole numbers from 0 to {n}")
    table = np.array([(comb(n, k) - comb(n - c, k)) / comb(n, k) for c in range(n + 1)])
    return table[correct.astype(np.int64)]


def any_of_k(samples: np.ndarray, k: int) -> np.ndarray:
    """Whether any of the first k samples is correct, per problem.

    Unbiased as well, but with the noise of k draws instead of n. The paper's entries are multiples of
    1/2048 throughout, which this estimator on 2048 problems gives and the one above would not.

    Args:
        samples: outcomes 0 or 1 in draw order, [..., n].
        k: samples looked at.

    Returns:
        float64 [...], 0 or 1.

    Raises:
        UserError: k is not in 1..n.
    """
    samples = np.asarray(samples)
    _require_k(k, samples.shape[-1])
    return np.asarray(samples[..., :k].any(axis=-1), dtype=np.float64)


def _require_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise UserError(f"pass@{k}: {n} samples per problem were drawn, so k must be from 1 to {n}")
