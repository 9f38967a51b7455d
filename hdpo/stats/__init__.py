"""Statistics as pure functions of arrays: intervals, tests, power, robust means, selection on the maximum, pass@k."""
