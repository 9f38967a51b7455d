"""pass@k against what it means: all subsets of size k, enumerated."""

from itertools import combinations

import numpy as np
import pytest

from hdpo.stats.passk import any_of_k, pass_at_k
from hdpo.system.errors import UserError


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_success(n):
    for c in range(n + 1):
        outcomes = [1] * c + [0] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(outcomes, k))
            expected = sum(any(subset) for subset in subsets) / len(subsets)
            assert pass_at_k(np.array([c]), n, k)[0] == pytest.approx(expected, abs=1e-15)


def test_values_by_hand():
    # n = 4, c = 1: 1 of 4 single draws; C(3,2)/C(4,2) = 3/6 of the pairs miss; a triple misses in 1 of 4 ways.
    assert pass_at_k(np.array([1, 1, 1]), 4, 1).tolist() == [0.25] * 3
    assert pass_at_k(np.array(1), 4, 2) == 0.5
    assert pass_at_k(np.array([[0, 1], [2, 4]]), 4, 3).tolist() == [[0.0, 0.75], [1.0, 1.0]]


def test_pass_at_1_is_the_mean_and_large_n_stays_exact():
    counts = np.arange(2049)
    assert np.array_equal(pass_at_k(counts, 2048, 1), counts / 2048)
    rare = pass_at_k(counts, 2048, 8)
    assert (np.diff(rare) >= 0).all() and rare[1] == 8 / 2048 and (rare[2041:] == 1).all()


def test_unbiased_pass_at_k_averages_any_of_k_over_draw_orders():
    samples = np.array([0, 1, 0, 0, 1])
    orders = np.array([samples[list(order)] for order in combinations(range(5), 3)])
    assert any_of_k(orders, 3).mean() == pytest.approx(pass_at_k(np.array(2), 5, 3))


def test_any_of_k_reads_the_first_k_draws_in_order():
    samples = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    assert any_of_k(samples, 2).tolist() == [0.0, 1.0, 0.0]
    assert any_of_k(samples, 3).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_beyond_the_samples_is_a_users_error(k):
    with pytest.raises(UserError, match="4 samples per problem were drawn"):
        pass_at_k(np.array([1]), 4, k)
    with pytest.raises(UserError, match="k must be from 1 to 4"):
        any_of_k(np.zeros((2, 4)), k)


@pytest.mark.parametrize("count", [-1, 5, 1.5, np.nan])
def test_impossible_counts_are_a_users_error(count):
    with pytest.raises(UserError, match="whole numbers from 0 to 4"):
        pass_at_k(np.array([count]), 4, 2)
