"""How far pass@k from n samples is to be trusted: its sampling variance, and its posterior under a beta prior.

A problem solved with chance p, q = 1 − p, has pass@k = 1 − q^k. Its estimate from c correct of n samples is 1 − g with
g = C(n−c, k)/C(n, k), which is unbiased for q^k; so is C(n−c, 2k)/C(n, 2k) for q^2k, hence

    Var̂ = g² − C(n−c, 2k)/C(n, 2k)          unbiased for Var(g) = E[g²] − q^2k, if n ≥ 2k

Under the prior p ~ Beta(a, b) the posterior is Beta(a + c, b + n − c), and every moment of q^k is a ratio of betas.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaincinv, betaln
from scipy.stats import betabinom, norm

from hdpo.stats.passk import pass_at_k


def pass_at_k_variance(correct: np.ndarray, n: int, k: int) -> NDArray[np.float64]:
    """Unbiased estimate of the sampling variance of each problem's unbiased pass@k; single values may be negative.

    Args:
        correct: correct samples c of each problem, any shape.
        n: samples drawn per problem, at least 2k.
        k: as in pass@k.

    Raises:
        UserError: n < 2k, or a count is not in 0..n.
    """
    return (1 - pass_at_k(correct, n, k)) ** 2 - (1 - pass_at_k(correct, n, 2 * k))


def pass_at_k_se(correct: np.ndarray, n: int, k: int) -> tuple[float, float]:
    """Standard errors of the mean pass@k of Q problems, from correct [Q].

    Returns:
        For new samples on these problems (nan if n < 2k), and for new samples on new problems.

    Raises:
        UserError: n < k.
    """
    scores = pass_at_k(correct, n, k)
    fixed = float("nan")
    if n >= 2 * k:
        fixed = float(np.sqrt(max(0.0, pass_at_k_variance(correct, n, k).mean()) / scores.size))
    return fixed, float(scores.std(ddof=1) / np.sqrt(scores.size))


@dataclass(frozen=True)
class Posterior:
    """pass@k = 1 − q^k with q ~ Beta(b, a), elementwise: `a` counts successes and `b` failures, prior included."""

    a: np.ndarray
    b: np.ndarray
    k: int

    @property
    def mean(self) -> NDArray[np.float64]:
        return 1 - fail_moment(self.a, self.b, self.k)

    @property
    def variance(self) -> NDArray[np.float64]:
        return fail_moment(self.a, self.b, 2 * self.k) - fail_moment(self.a, self.b, self.k) ** 2

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Equal-tailed credible interval of each problem: pass@k grows with p, so quantiles map to quantiles."""
        low, high = (betaincinv(self.a, self.b, tail) for tail in (0.5 - level / 2, 0.5 + level / 2))
        return 1 - (1 - low) ** self.k, 1 - (1 - high) ** self.k

    def mean_interval(self, level: float = 0.95) -> tuple[float, float, float]:
        """Mean pass@k of these problems, with its credible interval; normal, as a mean of many independent terms."""
        center, half = self.mean.mean(), norm.ppf(0.5 + level / 2) * np.sqrt(self.variance.sum()) / self.mean.size
        return float(center), float(center - half), float(center + half)


def posterior(correct: np.ndarray, n: int, k: int, prior: tuple[float, float] = (1.0, 1.0)) -> Posterior:
    """Posterior of each problem's pass@k from c correct of n samples; the default prior is uniform in p.

    A uniform prior says that half of all problems have pass@8 above .996: for a set of problems use `fit_prior`. No
    n ≥ k is needed, a prior takes the place of the samples not drawn.
    """
    correct = np.asarray(correct, dtype=np.float64)
    return Posterior(prior[0] + correct, prior[1] + n - correct, k)


def fit_prior(correct: np.ndarray, n: int) -> tuple[float, float]:
    """The beta distribution of difficulty that makes the counts [Q] likeliest (empirical Bayes, beta-binomial)."""
    counts = np.bincount(np.asarray(correct, dtype=np.int64).ravel(), minlength=n + 1)

    def loss(log_ab: np.ndarray) -> float:
        return float(-(counts * betabinom.logpmf(np.arange(n + 1), n, *np.exp(log_ab))).sum())

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-6, 6)] * 2)
    a, b = np.exp(found.x)
    return float(a), float(b)


def fail_moment(a: float | np.ndarray, b: float | np.ndarray, power: int) -> NDArray[np.float64]:
    """E[(1 − p)^power] for p ~ Beta(a, b), elementwise."""
    moment: NDArray[np.float64] = np.exp(betaln(a, np.asarray(b) + power) - betaln(a, b))
    return moment
