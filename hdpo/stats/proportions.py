"""Shares of problems solved: exact tests of one share and of paired shares, and two shares of known correlation."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm


def binomial_p(successes: int, n: int, chance: float) -> float:
    """Exact two-sided p-value of `successes` in n trials against `chance`: every outcome at most as likely counts."""
    return 1.0 if n == 0 else float(binomtest(successes, n, chance).pvalue)


@dataclass(frozen=True)
class Paired:
    """Two methods on the same problems: how many only the second solves, and how many only the first."""

    gained: int
    lost: int

    @property
    def p_value(self) -> float:
        """McNemar's exact two-sided p: were gains and losses equally likely, how unusual is this split?

        Source: McNemar (1947); exact as the binomial test of the discordant problems.
        """
        return binomial_p(self.gained, self.gained + self.lost, 0.5)


def mcnemar(first: np.ndarray, second: np.ndarray) -> Paired:
    """Discordant problems of two runs; outcomes 0 or 1 of the same problems in the same order, [Q] each."""
    first, second = np.asarray(first), np.asarray(second)
    return Paired(int(((first == 0) & (second == 1)).sum()), int(((first == 1) & (second == 0)).sum()))


def largest_discordance(difference: int, n: int, level: float = 0.95) -> int | None:
    """Most problems out of n that may differ between two runs for a net gain of `difference` to be significant.

    McNemar's exact test looks at the discordant problems alone: of g + l of them, g − l = `difference` is unusual if
    g + l is small. Only g + l of the parity of `difference` can occur.

    Returns:
        The largest g + l ≤ n with p ≤ 1 − level, or None: even gains without one loss are not significant.
    """
    net, largest = abs(difference), None
    for discordant in range(net, n + 1, 2):
        if Paired((discordant + net) // 2, (discordant - net) // 2).p_value > 1 - level:
            break
        largest = discordant
    return largest if net else None


def difference_se(first: float, second: float, n: int, correlation: float = 0.0) -> float:
    """Standard error of the difference of two shares over n problems; correlation 0 is the unpaired binomial.

    `correlation` is that of the two runs' outcomes over problems: sqrt((v₁ + v₂ − 2ρ sqrt(v₁v₂)) / n), v = p(1 − p).
    """
    v1, v2 = first * (1 - first), second * (1 - second)
    return float(np.sqrt(max(0.0, v1 + v2 - 2 * correlation * np.sqrt(v1 * v2)) / n))


def correlation_needed(first: float, second: float, n: int, level: float = 0.95) -> float:
    """Correlation from which on the difference of two shares is significant at `level`; may lie outside −1 to 1."""
    v1, v2, z = first * (1 - first), second * (1 - second), norm.ppf(0.5 + level / 2)
    return float((v1 + v2 - n * ((second - first) / z) ** 2) / (2 * np.sqrt(v1 * v2)))


def largest_correlation(first: float, second: float) -> float:
    """The largest correlation that two 0-or-1 outcomes of these means can have: all solved by one are by the other."""
    spread = np.sqrt(first * (1 - first) * second * (1 - second))
    return float((min(first, second) - first * second) / spread)


def z_p_value(z: float) -> float:
    """Two-sided p-value of a standard normal."""
    return float(2 * norm.sf(abs(z)))
