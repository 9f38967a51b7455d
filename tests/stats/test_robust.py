"""Robust summaries against scipy and hand calculation; coverage of each bootstrap by simulation."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from hdpo.stats.resample import percentile_interval, resample
from hdpo.stats.robust import interquartile_mean, probability_of_improvement


def test_interquartile_mean_by_hand_and_by_scipy():
    assert interquartile_mean(np.array([[0.0, 1.0], [2.0, 100.0]])) == 1.5  # of four, the two in the middle
    assert interquartile_mean(np.arange(6.0).reshape(2, 3)) == 2.5  # a quarter of six is one
    scores = np.random.default_rng(0).normal(size=(4, 3, 7))
    expected = [trim_mean(part, 0.25, axis=None) for part in scores]
    assert interquartile_mean(scores) == pytest.approx(expected)


def test_probability_of_improvement_by_hand_and_by_mann_whitney():
    # Task 1: 1 and 3 against 2: ½. Task 2: 5 and 5 against 5: ties, ½. Task 3: both above: 1.
    assert probability_of_improvement(np.array([[1, 5, 9], [3, 5, 8]]), np.array([[2, 5, 7]])) == pytest.approx(2 / 3)
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 4, (5, 6)), rng.integers(0, 4, (3, 6))
    expected = np.mean([mannwhitneyu(x[:, q], y[:, q]).statistic / 15 for q in range(6)])
    assert probability_of_improvement(x, y) == pytest.approx(expected)
    assert probability_of_improvement(x, x) == 0.5
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1)


def test_designs_draw_what_they_say():
    S, Q = 4, 5
    scores = np.arange(S * Q).reshape(S, Q)  # seed is value // 5, problem is value % 5

    def draw(design):
        return resample((scores, scores), design, np.random.default_rng(2), 200)

    first, second = draw("strata")
    assert (first % Q == np.arange(Q)).all() and not np.array_equal(first, second)
    assert (first // Q != (first // Q)[:, :, :1]).any()  # runs of a row differ from task to task
    first, second = draw("seeds")
    assert np.array_equal(first, second) and (first % Q == np.arange(Q)).all()
    assert (first // Q == (first // Q)[:, :, :1]).all()
    first, second = draw("crossed")
    assert np.array_equal(first, second) and (first // Q == (first // Q)[:, :, :1]).all()
    assert (first % Q == (first % Q)[:, :1, :]).all()  # every seed meets the same problems
    first, second = draw("nested")
    assert np.array_equal(first, second) and (first // Q == (first // Q)[:, :, :1]).all()
    assert (first % Q != (first % Q)[:, :1, :]).any()  # problems anew within each seed


@pytest.mark.parametrize("design", ["strata", "seeds", "crossed", "nested"])
def test_bootstrap_error_of_the_mean_by_hand(design):
    """Variance of the resampled mean: exact for each design, from the rows and columns of the scores."""
    scores = np.random.default_rng(3).normal(size=(3, 4))
    by_seed, by_problem, grand = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    expected = {
        "strata": scores.var(axis=0).sum() / 4**2 / 3,
        "seeds": by_seed.var() / 3,
        "crossed": by_seed.var() / 3
        + by_problem.var() / 4
        + ((scores - by_seed[:, None] - by_problem + grand) ** 2).mean() / 12,
        "nested": by_seed.var() / 3 + scores.var(axis=1).mean() / 12,
    }[design]
    (drawn,) = resample((scores,), design, np.random.default_rng(4), 40_000)
    assert mean(drawn).var() == pytest.approx(expected, rel=0.04)


def mean(scores):
    return scores.mean(axis=(-2, -1))


def coverage(design, S, Q, seed_sd, problem_sd, statistic=mean, simulated=1000, two=False):
    """Share of 95 % intervals that hold the truth: 0 for a mean or IQM, ½ for the improvement of equals."""
    rng, generator, held = np.random.default_rng([S, Q]), np.random.default_rng(5), 0
    for _ in range(simulated):
        samples = []
        for _ in range(2 if two else 1):
            seeds, problems = rng.normal(0, seed_sd, (S, 1)), rng.normal(0, problem_sd, (1, Q))
            samples.append(seeds + problems + rng.normal(0, 1, (S, Q)))
        _, low, high = percentile_interval(statistic, *samples, design=design, generator=generator, resamples=300)
        held += low <= (0.5 if two else 0.0) <= high
    return held / simulated


@pytest.mark.parametrize(
    ("design", "S", "Q", "seed_sd", "problem_sd"),
    [
        ("strata", 40, 5, 0.0, 0.0),  # rliable's model: scores of a run independent between tasks
        ("seeds", 40, 5, 1.0, 0.0),
        ("crossed", 40, 40, 0.7, 0.7),
        ("nested", 50, 10, 1.0, 0.0),
    ],
)
def test_coverage_with_many_seeds(design, S, Q, seed_sd, problem_sd):
    assert 0.93 <= coverage(design, S, Q, seed_sd, problem_sd) <= 0.97


def test_coverage_of_the_interquartile_mean_and_of_the_probability_of_improvement():
    assert 0.93 <= coverage("strata", 40, 5, 0.0, 0.0, interquartile_mean) <= 0.97
    assert 0.93 <= coverage("strata", 20, 4, 0.0, 0.0, probability_of_improvement, simulated=500, two=True) <= 0.975


@pytest.mark.parametrize(
    ("design", "seed_sd", "expected"),
    [("strata", 0.0, 0.94), ("seeds", 1.0, 0.75), ("crossed", 1.0, 0.90), ("nested", 1.0, 0.85)],
)
def test_coverage_with_three_seeds_is_as_stated(design, seed_sd, expected):
    """Three seeds are few for any resampling: why no verdict rests on these intervals."""
    assert coverage(design, 3, 20, seed_sd, 0.0) == pytest.approx(expected, abs=0.035)


def test_the_wrong_design_does_not_cover():
    """Nested resampling takes shared problems for many; stratified resampling takes one run for many."""
    assert coverage("nested", 50, 20, 0.0, 1.0, simulated=200) < 0.6
    assert coverage("strata", 40, 20, 1.0, 0.0, simulated=200) < 0.6


def test_equal_generators_give_equal_bits():
    scores = np.random.default_rng(6).normal(size=(3, 9))
    first, second = (
        percentile_interval(mean, scores, design="crossed", generator=np.random.default_rng(7)) for _ in range(2)
    )
    assert first == second
