"""Shares, pairs, clusters and pass@k's uncertainty, against enumeration, hand calculation and scipy."""

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binom

from hdpo.stats.clustered import problem_se, seed_se, two_way_se
from hdpo.stats.passk import pass_at_k
from hdpo.stats.passk_uncertainty import (
    fail_moment,
    fit_prior,
    pass_at_k_se,
    pass_at_k_variance,
    posterior,
)
from hdpo.stats.power import variance_components
from hdpo.stats.proportions import (
    Paired,
    binomial_p,
    correlation_needed,
    difference_se,
    largest_correlation,
    largest_discordance,
    mcnemar,
    z_p_value,
)
from hdpo.system.errors import UserError

# One share.


def test_binomial_p_counts_every_outcome_at_most_as_likely():
    for n, chance in ((7, 0.5), (9, 0.3)):
        chances = [comb(n, c) * chance**c * (1 - chance) ** (n - c) for c in range(n + 1)]
        for c in range(n + 1):
            expected = sum(p for p in chances if p <= chances[c] * (1 + 1e-9))
            assert binomial_p(c, n, chance) == pytest.approx(expected)
    assert binomial_p(0, 0, 0.5) == 1


# Pairs.


def test_mcnemar_by_hand():
    first, second = np.array([1, 1, 0, 0, 0, 0, 1]), np.array([1, 0, 1, 1, 1, 1, 1])
    pair = mcnemar(first, second)
    assert (pair.gained, pair.lost) == (4, 1)
    assert pair.p_value == pytest.approx(2 * (comb(5, 0) + comb(5, 1)) / 2**5)
    assert mcnemar(first, first).p_value == 1


def test_mcnemar_by_enumerating_every_relabelling():
    """Under no difference each discordant pair is as likely the other way round."""
    first, second = np.array([0, 0, 0, 0, 0, 1, 1]), np.array([1, 1, 1, 1, 1, 0, 1])
    observed = abs(int(second.sum()) - int(first.sum()))
    extreme = 0
    for flips in product([False, True], repeat=7):
        a, b = np.where(flips, second, first), np.where(flips, first, second)
        extreme += abs(int(b.sum()) - int(a.sum())) >= observed
    assert mcnemar(first, second).p_value == pytest.approx(extreme / 2**7)


def test_largest_discordance_is_the_last_significant_one():
    most = largest_discordance(35, 2048)
    assert Paired((most + 35) // 2, (most - 35) // 2).p_value <= 0.05
    assert Paired((most + 37) // 2, (most - 33) // 2).p_value > 0.05
    assert most == pytest.approx((35 / 1.96) ** 2, rel=0.1)
    assert largest_discordance(-35, 2048) == most
    assert largest_discordance(5, 2048) is None and largest_discordance(0, 2048) is None  # p = 2/2⁵ and 1
    assert largest_discordance(6, 2048) == 6  # 2/2⁶ = .031; 7 against 1: .070


def test_standard_error_of_a_difference_unpaired_and_paired():
    # v = .25 and .21: unpaired sqrt(.46/100); with correlation .5 the covariance sqrt(.25 · .21) comes off.
    assert difference_se(0.5, 0.7, 100) == pytest.approx(np.sqrt(0.46 / 100))
    assert difference_se(0.5, 0.7, 100, 0.5) == pytest.approx(np.sqrt((0.46 - np.sqrt(0.25 * 0.21)) / 100))
    outcomes = np.random.default_rng(0).random((2, 400)) < np.array([[0.5], [0.7]])
    first, second = outcomes.astype(float)
    correlation = np.corrcoef(first, second)[0, 1]
    exact = difference_se(first.mean(), second.mean(), 400, correlation)
    assert exact == pytest.approx((second - first).std() / np.sqrt(400))


def test_correlation_needed_makes_z_just_significant():
    needed = correlation_needed(0.8228, 0.8398, 2048)
    z = (0.8398 - 0.8228) / difference_se(0.8228, 0.8398, 2048, needed)
    assert z_p_value(z) == pytest.approx(0.05)


def test_largest_correlation_is_that_of_nested_successes():
    first, second = np.repeat([1.0, 0.0], [3, 7]), np.repeat([1.0, 0.0], [6, 4])
    assert largest_correlation(0.3, 0.6) == pytest.approx(np.corrcoef(first, second)[0, 1])


# Clusters.


def clustered_variance(D: np.ndarray, clusters: np.ndarray) -> float:
    """Squared standard error of the mean by Liang and Zeger: C/(C−1) · Σ_c (Σ_{i in c} (x_i − x̄))² / N²."""
    sums = np.array([(D - D.mean())[clusters == c].sum() for c in np.unique(clusters)])
    return len(sums) / (len(sums) - 1) * (sums**2).sum() / D.size**2


def test_errors_by_seed_and_by_problem():
    D = np.random.default_rng(2).normal(size=(3, 8))
    seed, problem = np.indices(D.shape)
    by_seed, by_problem, by_cell = (clustered_variance(D, labels) for labels in (seed, problem, seed * 8 + problem))
    assert seed_se(D) ** 2 == pytest.approx(by_seed) and problem_se(D) ** 2 == pytest.approx(by_problem)
    assert two_way_se(D) ** 2 == pytest.approx(max(by_seed + by_problem - by_cell, by_seed, by_problem))


def test_two_way_error_is_right_on_average_and_each_one_way_error_is_too_small():
    """Seeds and problems both matter: the true variance is σ_a²/S + σ_b²/Q + σ_e²/(SQ)."""
    rng, S, Q = np.random.default_rng(3), 20, 30
    truth = np.sqrt(0.04 / S + 0.09 / Q + 0.25 / (S * Q))
    found = []
    for _ in range(300):
        D = rng.normal(0, 0.2, (S, 1)) + rng.normal(0, 0.3, (1, Q)) + rng.normal(0, 0.5, (S, Q))
        found.append([two_way_se(D) ** 2, seed_se(D) ** 2, problem_se(D) ** 2])
    both, seed, problem = np.sqrt(np.mean(found, axis=0))
    assert both == pytest.approx(truth, rel=0.04)
    assert seed < 0.85 * truth and problem < 0.85 * truth


def test_variance_components_are_unbiased_where_all_are_there():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(3000):
        D = rng.normal(0, 0.3, (6, 1)) + rng.normal(0, 0.4, (1, 20)) + rng.normal(0, 0.5, (6, 20))
        parts = variance_components(D)
        found.append([parts.seed, parts.problem, parts.rest])
    assert np.mean(found, axis=0) == pytest.approx([0.09, 0.16, 0.25], rel=0.05)


# pass@k.


@pytest.mark.parametrize(("n", "k"), [(8, 1), (8, 4), (16, 8), (5, 2)])
@pytest.mark.parametrize("chance", [0.0, 0.07, 0.5, 1.0])
def test_variance_of_pass_at_k_is_unbiased(n, k, chance):
    """Averaged over all possible counts, the estimate is the estimator's variance, exactly."""
    counts = np.arange(n + 1)
    pmf = binom.pmf(counts, n, chance)
    scores = pass_at_k(counts, n, k)
    variance = (pmf * scores**2).sum() - (pmf * scores).sum() ** 2
    assert (pmf * pass_at_k_variance(counts, n, k)).sum() == pytest.approx(variance, abs=1e-12)


def test_variance_needs_2k_samples():
    with pytest.raises(UserError, match="pass@10"):
        pass_at_k_variance(np.array([1]), 8, 5)
    assert np.isnan(pass_at_k_se(np.array([1, 3]), 8, 5)[0])


def test_standard_errors_of_pass_at_1_by_hand():
    # p̂ = 1/2 and 1: p̂(1 − p̂)/(n − 1) = 1/12 and 0; over two problems sqrt((1/12)/2/2); sd of (½, 1) is sqrt(1/8).
    fixed, new = pass_at_k_se(np.array([2, 4]), 4, 1)
    assert fixed == pytest.approx(np.sqrt(1 / 48)) and new == pytest.approx(np.sqrt(1 / 8 / 2))


def test_posterior_moments_and_intervals_against_integration():
    found = posterior(np.array([0, 3, 16]), 16, 8, prior=(0.4, 0.7))
    p = (np.arange(100_000) + 0.5) / 100_000
    for i, c in enumerate((0, 3, 16)):
        q = beta.ppf(p, 0.4 + c, 0.7 + 16 - c)
        score = 1 - (1 - q) ** 8
        assert found.mean[i] == pytest.approx(score.mean(), abs=1e-4)
        assert found.variance[i] == pytest.approx(score.var(), abs=1e-4)
        ends = [end[i] for end in found.interval()]
        assert ends == pytest.approx(np.quantile(score, [0.025, 0.975]), abs=1e-4)


def test_posterior_with_k_1_and_a_uniform_prior_is_laplaces_rule():
    found = posterior(np.array([3]), 10, 1)
    assert found.mean[0] == pytest.approx(4 / 12)
    assert found.mean_interval()[0] == pytest.approx(4 / 12)


def test_fitted_prior_is_recovered_and_its_posterior_covers():
    rng = np.random.default_rng(5)
    chance = rng.beta(0.4, 0.3, 4000)
    counts = rng.binomial(16, chance)
    a, b = fit_prior(counts, 16)
    assert (a, b) == pytest.approx((0.4, 0.3), rel=0.1)
    nearby = betabinom.logpmf(counts, 16, a * 1.02, b).sum(), betabinom.logpmf(counts, 16, a, b * 1.02).sum()
    assert betabinom.logpmf(counts, 16, a, b).sum() > max(nearby)
    truth = 1 - (1 - chance) ** 4
    low, high = posterior(counts, 16, 4, (a, b)).interval()
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97


def test_mean_interval_of_the_posterior_covers_at_its_level():
    rng, covered = np.random.default_rng(6), 0
    for _ in range(1000):
        chance = rng.beta(0.4, 0.3, 100)
        _, low, high = posterior(rng.binomial(16, chance), 16, 8, (0.4, 0.3)).mean_interval()
        covered += low <= (1 - (1 - chance) ** 8).mean() <= high
    assert 0.93 <= covered / 1000 <= 0.97


def test_fail_moment_is_the_product_of_ratios():
    assert fail_moment(0.4, 0.7, 3) == pytest.approx(0.7 / 1.1 * 1.7 / 2.1 * 2.7 / 3.1)
