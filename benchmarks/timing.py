"""Paired timing: contenders take turns, so that a slow minute of the machine hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", bound=Hashable)


def alternate(cases: dict[Key, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[Key, list[float]]:
    """Wall seconds of each case, `rounds` each; in every round each case runs once.

    The order rotates, and every other round runs backwards. So neighbours, whose conditions are most alike, go first
    equally often.
    """
    for _ in range(warmup):
        for run in cases.values():
            run()
    names = list(cases)
    seconds: dict[Key, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn // 2 % len(names)
        order = names[first:] + names[:first]
        for name in reversed(order) if turn % 2 else order:
            began = time.perf_counter()
            cases[name]()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def best(run: Callable[[], object], repeats: int) -> float:
    """The least wall seconds of `repeats` calls, after one that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def ratio(slow: list[float], fast: list[float], draws: int = 2000) -> dict[str, float]:
    """Median over rounds of slow/fast, with a 95 % percentile bootstrap interval over the rounds."""
    ratios = np.array(slow) / np.array(fast)
    resampled = np.median(np.random.default_rng(0).choice(ratios, (draws, len(ratios))), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"ratio": round(statistics.median(ratios), 3), "low": round(float(low), 3), "high": round(float(high), 3)}
