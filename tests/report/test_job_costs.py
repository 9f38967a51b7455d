"""What a study's jobs cost, and how long they take on several cores."""

import pytest

from hdpo.report.job_costs import makespan


@pytest.mark.parametrize(("cores", "seconds"), [(1, 15), (2, 8), (3, 5), (64, 5)])
def test_the_longest_job_starts_first(cores, seconds):
    """Jobs of 5, 4, 3, 2 and 1: on two cores 5 + 2 beside 4 + 3, then 1; on three 5 beside 4 + 1 and 3 + 2."""
    assert makespan([1, 2, 3, 4, 5], cores) == seconds
