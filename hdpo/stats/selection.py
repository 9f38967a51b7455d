"""Best of E evaluations: how far the maximum of a noisy curve lies above the curve.

Unit noise first: E evaluations with standard normal errors, lag-one correlation ρ (AR(1)). Order statistics give the
maximum for ρ = 0, P(max ≤ m) = Φ(m)^E; for ρ > 0 the same probability is a product of E − 1 transitions, integrated by
quadrature. Times the noise of one evaluation this is the bias of "best over training" for a curve that is flat. For one
that still rises, only the evaluations near its top compete, so E is then that smaller number.

The noise of one evaluation on *fixed* problems comes from the difficulty of each, p_q ~ Beta(a, b): its any-of-k
outcome has variance v(1 − v), v = 1 − (1 − p_q)^k, which is less than the binomial variance of the mean.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.integrate import simpson
from scipy.optimize import root
from scipy.special import ndtr
from scipy.stats import norm

from hdpo.stats.passk_uncertainty import fail_moment

LOW, HIGH, POINTS, NODES = -7.0, 7.0, 113, 128  # range and grids of the quadratures, in standard deviations


@cache
def maximum_moments(evaluations: int, correlation: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the maximum of 1, 2, …, E unit-normal evaluations, [E] each.

    By order statistics for correlation 0, by quadrature over the AR(1) chain for 0 < correlation ≤ 0.99; accurate to
    three decimals.
    """
    m = np.linspace(LOW, HIGH, POINTS)
    below = _below(evaluations, correlation, m)  # P(max ≤ m), [E, M]
    mean = HIGH - simpson(below, x=m, axis=1)
    square = HIGH**2 - simpson(2 * m * below, x=m, axis=1)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _below(evaluations: int, correlation: float, m: np.ndarray) -> np.ndarray:
    below: np.ndarray
    if correlation == 0:
        below = ndtr(m)[None, :] ** np.arange(1, evaluations + 1)[:, None]
        return below
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    lowest = LOW - 1
    x = lowest + (m[:, None] - lowest) * (nodes + 1) / 2  # [M, X], the states not above m
    dx = weights * (m[:, None] - lowest) / 2
    spread = np.sqrt(1 - correlation**2)
    steps = norm.pdf((x[:, :, None] - correlation * x[:, None, :]) / spread) / spread * dx[:, None, :]
    state, masses = norm.pdf(x), []
    for _ in range(evaluations):
        masses.append((state * dx).sum(axis=1))
        state = (steps @ state[:, :, None])[:, :, 0]
    below = np.clip(np.stack(masses), 0, 1)
    return below


@dataclass(frozen=True)
class Difficulty:
    """Problems whose chance of one correct sample is Beta(a, b)."""

    a: float
    b: float

    def pass_at(self, k: int) -> float:
        return float(1 - fail_moment(self.a, self.b, k))

    def noise(self, k: int, problems: int) -> float:
        """Standard deviation of one evaluation by any of k on fixed problems: sqrt(E[v(1 − v)] / Q)."""
        inside = fail_moment(self.a, self.b, k) - fail_moment(self.a, self.b, 2 * k)
        return float(np.sqrt(inside / problems))

    def correlation(self, k: int) -> float:
        """Correlation over problems of two independent any-of-k outcomes: Var(v) / (v̄(1 − v̄))."""
        fail = fail_moment(self.a, self.b, k)
        return float((fail_moment(self.a, self.b, 2 * k) - fail**2) / (fail * (1 - fail)))

    def draw(self, problems: int, generator: np.random.Generator) -> np.ndarray:
        return generator.beta(self.a, self.b, problems)


def fit_difficulty(k1: int, score1: float, k2: int, score2: float) -> Difficulty:
    """The beta distribution with these two values of pass@k.

    Raises:
        ValueError: no beta distribution has them (the second score must be larger for the larger k).
    """

    def gap(log_ab: np.ndarray) -> list[float]:
        a, b = np.exp(log_ab)
        return [float(np.log(fail_moment(a, b, k) / (1 - score))) for k, score in ((k1, score1), (k2, score2))]

    found = root(gap, np.log([0.5, 0.5]))
    if not found.success or max(map(abs, gap(found.x))) > 1e-8:
        raise ValueError(f"no beta distribution has pass@{k1} = {score1} and pass@{k2} = {score2}")
    a, b = np.exp(found.x)
    return Difficulty(float(a), float(b))
