"""The headline's means, differences and intervals from published outcomes: python examples/recompute.py [folder]."""

import json
import sys
from math import comb
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import t


def read(folder: Path) -> dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Greedy [Q] and sampled [Q, n] outcomes of the test problems by run and seed; problems in one order."""
    n = json.loads(pq.read_table(folder / "records.parquet")["stated"][0].as_py())["samples"]["test"]
    table = pq.read_table(folder / "outcomes.parquet", filters=[("split", "=", "test")]).to_pandas()
    found: dict = {}
    for (run, seed), rows in table.sort_values("problem").groupby(["run", "seed"], observed=True):
        bits = rows["samples"].to_numpy()[:, None] >> np.arange(n, dtype=np.uint64)  # the first draw is the lowest bit
        found.setdefault(run, {})[seed] = rows["greedy"].to_numpy(), (bits & np.uint64(1)).astype(int)
    return found


def score(greedy: np.ndarray, samples: np.ndarray, metric: str) -> np.ndarray:
    """Of each problem, [Q]: `greedy`, or `pass@k`, the share of k-subsets of the samples that hold a success."""
    n, k = samples.shape[1], int(metric.partition("@")[2] or 0)
    return np.array([1 - comb(n - c, k) / comb(n, k) for c in samples.sum(1).tolist()]) if k else greedy.astype(float)


def estimate(D: np.ndarray) -> tuple[float, float, float]:
    """Mean of D [S, Q] and its 95 % interval for new seeds and problems, as in hdpo/stats/paired.py."""
    S, Q = D.shape
    seed, problem = D.mean(1, keepdims=True) - D.mean(), D.mean(0, keepdims=True) - D.mean()
    of_rest = ((D - D.mean() - seed - problem) ** 2).sum() / max(1, (S - 1) * (Q - 1))
    of_seeds, of_problems = Q * (seed**2).sum() / max(1, S - 1), S * (problem**2).sum() / (Q - 1)
    total = max(of_seeds, of_rest) + max(of_problems, of_rest) - of_rest
    share = of_seeds / total if of_seeds > of_rest else 0.0
    half = t.ppf(0.975, 1 / (share / max(1, S - 1) + (1 - share) / (Q - 1))) * np.sqrt(total / (S * Q))
    return D.mean(), D.mean() - half, D.mean() + half


def headline(folder: Path, metrics: tuple[str, ...] = ("greedy", "pass@1", "pass@4", "pass@8")) -> dict:
    """By run and metric: the mean and the difference to GRPO, paired by seed and problem, each with its interval."""
    runs, rows = read(folder), {}
    for run, metric in ((run, metric) for run in runs for metric in metrics):
        own, grpo = ({s: score(*both, metric) for s, both in runs[name].items()} for name in (run, "grpo"))
        own = dict.fromkeys(grpo, own[0]) if run == "base" else own  # the base model has no seeds
        paired = np.stack([own[s] - grpo[s] for s in sorted({*own} & {*grpo})])
        mean = np.stack([*own.values()][: 1 if run == "base" else None])
        rows[run, metric] = *estimate(mean), *estimate(paired)
    return rows


if __name__ == "__main__":
    for (run, metric), numbers in headline(Path(*sys.argv[1:2] or ["results/reference/small"])).items():
        print(f"{run:24}{metric:8}" + "".join(f"{100 * number:9.2f}" for number in numbers))
