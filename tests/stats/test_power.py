"""Power and sample sizes against scipy, textbook values and simulation; Holm against the definition."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import nct, norm, ttest_1samp
from scipy.stats import t as student_t

from hdpo.stats.paired import estimate
from hdpo.stats.power import (
    Components,
    holm,
    minimal_effect,
    power_of,
    required_problems,
    required_problems_for_shares,
    required_seeds,
    two_sided_p,
    variance_components,
)


@pytest.mark.parametrize("df", [2, 3.5, 9, 60])
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0, 4.0])
def test_power_is_that_of_the_noncentral_t(df, shift):
    critical = student_t.ppf(0.975, df)
    expected = nct.sf(critical, df, shift) + nct.cdf(-critical, df, shift)
    assert power_of(shift, 1.0, df) == pytest.approx(expected, abs=1e-4)


def test_power_at_the_ends():
    assert power_of(0.0, 1.0, 5) == pytest.approx(0.05, abs=1e-4)  # no effect: the level
    assert power_of(100.0, 1.0, 2) == pytest.approx(1.0)
    assert power_of(2.8, 1.0) == pytest.approx(norm.sf(1.96 - 2.8) + norm.cdf(-1.96 - 2.8), abs=1e-4)
    assert power_of(0.1, 0.0) == 1 and power_of(0.0, 0.0) == 0


def test_minimal_effect_is_found_with_its_power():
    assert minimal_effect(1.0) == pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=1e-3)
    for df in (2, 4, 20):
        assert power_of(minimal_effect(0.3, df), 0.3, df) == pytest.approx(0.8)
    assert minimal_effect(0.0) == 0


def test_simulated_power_of_a_t_test():
    effect = minimal_effect(1 / np.sqrt(5), 4)
    draws = np.random.default_rng(0).normal(effect, 1, (20_000, 5))
    assert np.mean(ttest_1samp(draws, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_expected_error_agrees_with_the_estimate_of_the_study():
    """Same model as the intervals behind the verdicts: standard error and degrees of freedom, on typical data."""
    rng = np.random.default_rng(1)
    D = rng.normal(0, 0.05, (12, 1)) + rng.normal(0, 0.2, (1, 200)) + rng.normal(0, 0.3, (12, 200))
    se, df = variance_components(D).error(12, 200)
    found = estimate(D[None])
    assert se == pytest.approx(found.se[0]) and df == pytest.approx(found.df[0])


def test_required_seeds_of_a_paired_t_test_is_the_textbook_number():
    # Effect one standard deviation, 80 % power, two-sided 5 %: ten pairs (Cohen's tables); half of one: 34.
    assert required_seeds(1.0, Components(1.0, 0.0, 0.0), 100) == 10
    assert required_seeds(0.5, Components(1.0, 0.0, 0.0), 100) == 34


def test_required_sizes_are_the_smallest_that_do():
    parts = Components(seed=1e-4, problem=0.01, rest=0.1)
    seeds = required_seeds(0.02, parts, 500)
    reached = [power_of(0.02, *parts.error(count, 500)) for count in (seeds - 1, seeds)]
    assert reached[0] < 0.8 <= reached[1]
    problems = required_problems(0.02, parts, seeds + 5)
    reached = [power_of(0.02, *parts.error(seeds + 5, count)) for count in (problems - 1, problems)]
    assert reached[0] < 0.8 <= reached[1]


def test_floors_are_not_reached_by_any_number():
    assert required_seeds(0.01, Components(seed=0.0, problem=1.0, rest=0.0), 100) is None  # se never below .1
    assert required_problems(0.01, Components(seed=1.0, problem=0.0, rest=0.0), 3) is None
    assert required_seeds(0.01, Components(seed=0.0, problem=0.0, rest=0.0), 100) == 2


def test_required_problems_for_shares():
    # (1.96 + .8416)² (.25 + .24) / .1² = 384.6; correlation takes off its share.
    assert required_problems_for_shares(0.5, 0.6) == 385
    halved = required_problems_for_shares(0.5, 0.6, correlation=0.5)
    assert halved == int(np.ceil(7.8489 * (0.49 - np.sqrt(0.25 * 0.24)) / 0.01))
    rng = np.random.default_rng(2)
    first, second = rng.binomial(385, 0.5, 20_000) / 385, rng.binomial(385, 0.6, 20_000) / 385
    z = (second - first) / np.sqrt((first * (1 - first) + second * (1 - second)) / 385)
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.01)


def test_two_sided_p_agrees_with_scipys_t_test():
    x = np.random.default_rng(3).normal(0.3, 1, 8)
    assert two_sided_p(x.mean(), x.std(ddof=1) / np.sqrt(8), 7) == pytest.approx(ttest_1samp(x, 0).pvalue)
    assert two_sided_p(0.0, 0.0, 2) == 1 and two_sided_p(0.1, 0.0, 2) == 0
    assert np.isnan(two_sided_p(0.1, np.nan, 2))


def test_holm_by_hand():
    # Sorted .01 · 4, .02 · 3, .03 · 2, .04 · 1 = .04, .06, .06, .04 → .04, .06, .06, .06.
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.5, 0.9])).tolist() == [1.0, 1.0]
    adjusted = holm(np.array([np.nan, 0.01, np.nan, 0.04]))
    assert np.isnan(adjusted[[0, 2]]).all() and adjusted[[1, 3]] == pytest.approx([0.02, 0.04])
    assert holm(np.array([])).size == 0 and np.isnan(holm(np.array([np.nan]))).all()


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(4)
    for _ in range(200):
        p = rng.beta(0.3, 1, 6)
        rejected, order = set(), np.argsort(p)
        for step, i in enumerate(order):
            if p[i] > 0.05 / (6 - step):
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(holm(p) <= 0.05).tolist()) == rejected
        assert all(a <= b for a, b in pairwise(holm(p)[order]))


def test_holm_keeps_the_family_at_its_level():
    p = np.random.default_rng(5).random((20_000, 5))  # five true null hypotheses
    wrong = np.mean([(holm(row) <= 0.05).any() for row in p])
    assert wrong == pytest.approx(1 - 0.99**5, abs=0.005)
