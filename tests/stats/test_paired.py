"""Intervals of the crossed model: by hand, against a general linear solution, and their coverage by simulation."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm, ttest_1samp
from scipy.stats import t as student_t

from hdpo.stats.paired import Estimates, contrast, error_of_mean, estimate, mean_squares


def draw(seed: int, count: int, S: int, Q: int, seed_sd: float, problem_sd: float, rest_sd: float) -> np.ndarray:
    """Contrasts [C, S, Q] with true mean 0 and known variance components."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(0, seed_sd, (count, S, 1))
        + rng.normal(0, problem_sd, (count, 1, Q))
        + rng.normal(0, rest_sd, (count, S, Q))
    )


def covers(found: Estimates) -> float:
    """Share of 95 % intervals that hold 0."""
    low, high = found.interval()
    return float(np.mean((low <= 0) & (high >= 0)))


def test_contrast_is_linear_and_paired():
    scores = np.arange(12.0).reshape(2, 3, 2)  # two runs, three seeds, two problems; run 1 is run 0 plus 6
    assert np.array_equal(contrast(scores, np.array([-1, 1])), np.full((3, 2), 6.0))
    assert contrast(scores, np.array([[-1, 1], [0.5, 0.5]])).shape == (2, 3, 2)


def test_a_table_of_three_seeds_and_two_problems_by_hand():
    # D = 0 2 | 3 3 | 6 10; mean 4. Seeds 1, 3, 8: off by −3, −1, 4. Problems 3, 5: off by −1, 1.
    # MS_a = 2 (9 + 1 + 16)/2 = 26. MS_b = 3 (1 + 1)/1 = 6.
    # Rest, D − seed − problem + 4: 0 0 | 1 −1 | −1 1, so MS_e = 4/2 = 2.
    # Components (26 − 2)/2 = 12, (6 − 2)/3 = 4/3 and 2: variance 12/3 + (4/3)/2 + 2/6 = 5 = (26 + 6 − 2)/6.
    # The seeds' share is 26/30, on 2 df; 4/30 stay for problems, on 1: 1/df = 26/60 + 4/30 = 17/30.
    D = np.array([[[0.0, 2.0], [3.0, 3.0], [6.0, 10.0]]])
    assert [float(square[0]) for square in mean_squares(D)] == pytest.approx([26, 6, 2])
    found = estimate(D)
    assert (found.estimate[0], found.se[0], found.df[0]) == pytest.approx((4, np.sqrt(5), 30 / 17))
    half = student_t.ppf(0.975, 30 / 17) * np.sqrt(5)
    assert found.interval()[0] == pytest.approx([4 - half]) and found.interval()[1] == pytest.approx([4 + half])


def test_negative_components_are_set_to_zero_by_hand():
    # D = 0 3 | 3 0 | 1 2; mean 1.5 in every row; columns 4/3, 5/3. MS_a = 0 and MS_b = 3 · 2/36 = 1/6 are below MS_e.
    # Rest: Σ(D − 1.5)² = 9.5, less the problems' 1/6, is 28/3; over 2 df: MS_e = 14/3.
    # Only MS_e/6 = 7/9 is left, on the single degree of freedom of two problems.
    found = estimate(np.array([[[0.0, 3.0], [3.0, 0.0], [1.0, 2.0]]]))
    assert (found.se[0] ** 2, found.df[0]) == pytest.approx((7 / 9, 1))


def test_a_constant_difference_has_no_error_and_equal_arms_have_none():
    result = estimate(np.stack([np.full((3, 4), 0.25), np.zeros((3, 4))]))
    assert result.estimate.tolist() == [0.25, 0.0]
    assert result.se.tolist() == [0.0, 0.0]
    assert result.interval()[0].tolist() == [0.25, 0.0]


def test_where_only_seeds_or_only_problems_differ_it_is_the_usual_t_interval():
    values = np.array([0.0, 1.0, 2.0, 5.0])
    expected = ttest_1samp(values, 0).confidence_interval()
    seeds, problems = np.repeat(values[:, None], 7, axis=1), np.repeat(values[None, :], 7, axis=0)
    for D in (seeds, problems, values[None, :]):  # the last with one seed
        found = estimate(D[None])
        assert np.concatenate(found.interval()) == pytest.approx(expected) and found.df[0] == pytest.approx(3)


def test_variance_is_that_of_restricted_likelihood():
    """Where all components are positive, maximum of the likelihood of D's residuals, found by a general optimiser."""
    S, Q = 4, 12
    D = draw(1, 1, S, Q, seed_sd=0.5, problem_sd=0.8, rest_sd=0.6)[0]
    seeds, problems = np.kron(np.eye(S), np.ones((Q, Q))), np.kron(np.ones((S, S)), np.eye(Q))
    off, one = D.ravel() - D.mean(), np.ones(S * Q)

    def covariance(logs: np.ndarray) -> np.ndarray:
        return sum(np.exp(log) * part for log, part in zip(logs, (seeds, problems, np.eye(S * Q)), strict=True))

    def loss(logs: np.ndarray) -> float:
        V = covariance(logs)
        return np.linalg.slogdet(V)[1] + off @ np.linalg.solve(V, off) + np.log(one @ np.linalg.solve(V, one))

    best = minimize(loss, np.log([0.2, 0.5, 0.3]), method="BFGS", options={"gtol": 1e-7}).x
    expected = 1 / (one @ np.linalg.solve(covariance(best), one))
    assert estimate(D[None]).se[0] ** 2 == pytest.approx(expected, rel=1e-4)


RATIOS = (0, 0.3, 2, 10, 100)  # Qσ_a²/σ_e² and Sσ_b²/σ_e²: how far a mean square exceeds that of the rest


@pytest.mark.parametrize("S", [3, 10, 24])
def test_coverage_is_93_to_97_percent_whatever_dominates(S):
    """Mean squares are drawn themselves: independent χ² times their expectations, and independent of the mean."""
    rng, Q, count = np.random.default_rng(2), 512, 30_000
    for seed_ratio, problem_ratio in product(RATIOS, RATIOS):
        expected = (1 + seed_ratio, 1 + problem_ratio, 1)
        freedom = (S - 1, Q - 1, (S - 1) * (Q - 1))
        squares = [size * rng.chisquare(df, count) / df for size, df in zip(expected, freedom, strict=True)]
        mean = rng.normal(0, np.sqrt((1 + seed_ratio + problem_ratio) / (S * Q)), count)
        share = covers(Estimates(mean, *error_of_mean(*squares, S, Q)))
        assert 0.93 <= round(share, 2) <= 0.97, (seed_ratio, problem_ratio, share)


@pytest.mark.parametrize(("seed_sd", "problem_sd"), [(0.0, 0.0), (0.0, 0.2), (0.02, 0.2), (0.1, 0.0)], ids=str)
def test_coverage_from_scores_of_three_seeds(seed_sd, problem_sd):
    """The same from differences per seed and problem; wider bounds for 4,000 studies."""
    assert 0.92 <= covers(estimate(draw(3, 4000, 3, 100, seed_sd, problem_sd, 0.2))) <= 0.985


def test_satterthwaite_would_not_cover_and_plain_resampling_even_less():
    """Why the degrees of freedom are not Satterthwaite's, and why three seeds are not resampled."""
    rng, S, Q, count = np.random.default_rng(4), 3, 512, 40_000
    a, b, e = (size * rng.chisquare(df, count) / df for size, df in ((101, S - 1), (11, Q - 1), (1, (S - 1) * (Q - 1))))
    mean, (se, _) = rng.normal(0, np.sqrt(111 / (S * Q)), count), error_of_mean(a, b, e, S, Q)
    satterthwaite = (a + b - e) ** 2 / (a**2 / (S - 1) + b**2 / (Q - 1) + e**2 / ((S - 1) * (Q - 1)))
    assert covers(Estimates(mean, se, satterthwaite)) < 0.927
    seeds = draw(4, 400, S, 1, 1.0, 0.0, 0.0)[:, :, 0]
    low, high = np.percentile(seeds[:, rng.integers(0, 3, (500, 3))].mean(axis=2), [2.5, 97.5], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.85


def test_minimum_detectable_effect_is_found_with_80_percent_power():
    large = Estimates(np.zeros(1), np.ones(1), np.full(1, 1e9))
    assert large.detectable()[0] == pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=1e-6)  # 2.80 SE
    effect = estimate(draw(6, 1, 3, 400, 0.0, 0.3, 0.1)).detectable()[0]
    low, high = estimate(effect + draw(7, 2000, 3, 400, 0.0, 0.3, 0.1)).interval()
    assert 0.72 <= np.mean((low > 0) | (high < 0)) <= 0.9


def test_contrasts_do_not_see_each_other():
    D = draw(9, 4, 3, 50, 0.05, 0.1, 0.2)
    together = estimate(np.concatenate([D, 2 * D]))
    assert together.se[:4] == pytest.approx([estimate(part[None]).se[0] for part in D], rel=1e-12)
    assert together.se[4:] == pytest.approx(2 * together.se[:4], rel=1e-12)
    assert together.df[4:] == pytest.approx(together.df[:4], rel=1e-9)
