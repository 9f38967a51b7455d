"""The data frames that the figures draw, one function per figure, shares throughout."""

from collections.abc import Sequence

import pandas as pd

from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import BASELINE, Results, unbiased_metrics
from hdpo.study.study import BASE_RUN


def learning_frame(results: Results) -> pd.DataFrame:
    """Validation scores during training: run, seed, metric, step, value. Every run starts from the base model's."""
    start = results.reader.start() or {}
    rows = [
        {"run": run, "seed": seed, "metric": metric, "step": 0, "value": start["validation"].score(metric).mean()}
        for run, seed in (results.training if start else ())
        for metric in unbiased_metrics(results.study)
    ]
    rows += [
        {"run": run, "seed": seed, "metric": metric, "step": step, "value": value}
        for (run, seed), curves in results.training.items()
        for metric in unbiased_metrics(results.study)
        for step, value in zip(curves["validation"].steps.tolist(), curves["validation"].means(metric), strict=True)
    ]
    return pd.DataFrame(rows, columns=["run", "seed", "metric", "step", "value"])


def to_baseline(frame: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """`frame` without GRPO, `columns` less GRPO's at the same `keys`; the frame itself where there is no such pair.

    `attrs["paired"]` of the result says which.
    """
    is_baseline = frame["run"] == BASELINE
    base = frame[is_baseline].set_index(list(keys))[list(columns)].add_suffix(" of GRPO")
    pairs = frame[~is_baseline].join(base, on=list(keys), how="inner")
    for column in columns:
        pairs[column] -= pairs.pop(f"{column} of GRPO")
    found = pairs if len(pairs) else frame.copy()
    found.attrs["paired"] = len(pairs) > 0
    return found


def tradeoff_frame(summary: pd.DataFrame) -> pd.DataFrame:
    """Differences to GRPO in greedy accuracy (x) and pass@8 (y): source, run, x, x_low, x_high, y, y_low, y_high.

    This study's are those of the final weights on the test problems; the paper's have no interval.
    """
    test = summary[(summary["protocol"] == "test") & (summary["run"] != BASE_RUN) & summary["diff"].notna()]
    parts = {"": "diff", "_low": "diff_low", "_high": "diff_high"}
    rows = []
    for run, cells in test.groupby("run", sort=False):
        by_metric = cells.set_index("metric")
        if "pass@8" in by_metric.index:
            row = {f"x{end}": by_metric.loc["greedy", part] for end, part in parts.items()}
            row |= {f"y{end}": by_metric.loc["pass@8", part] for end, part in parts.items()}
            rows.append({"source": "this study", "run": run} | row)
    reported = reported_scores()
    for entry in reported[reported["run"] != BASELINE].itertuples():
        weights = {entry.run: 1.0, BASELINE: -1.0}
        x, y = (reported_contrasts(reported, weights, metric)[entry.table] for metric in ("greedy", "pass@8"))
        rows.append({"source": entry.hardware.replace("x", "×"), "run": entry.run, "x": x, "y": y})
    return pd.DataFrame(rows, columns=["source", "run", *(f"{axis}{end}" for axis in "xy" for end in parts)])


def cliff_frame(results: Results) -> pd.DataFrame:
    """Cliffs over training: run, seed, step, cliff_fraction, privileged_pass_rate (nan where none were drawn)."""
    columns = ["run", "seed", "step", "cliff_fraction", "privileged_pass_rate"]
    keys = [(run, seed) for run in results.runs for seed in results.seeds(run)]
    found = [(run, seed, results.reader.metrics(run, seed)) for run, seed in keys]
    frames = [metrics.assign(run=run, seed=seed)[columns] for run, seed, metrics in found if metrics is not None]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def pass_at_k_frame(results: Results) -> pd.DataFrame:
    """pass@k of the final weights, k = 1, 2, 4, … up to n: run, k, value, and diff, low, high to GRPO (paired)."""
    n = results.study.evaluate.test_samples
    rows = []
    for k in sorted({*(2**i for i in range(n.bit_length())), n}):
        for run, (mean, difference) in results.beside_baseline("test", f"pass@{k}").items():
            if mean is not None:
                row = {"run": run, "k": k, "value": mean.value}
                row |= {"diff": difference.value, "low": difference.low, "high": difference.high} if difference else {}
                rows.append(row)
    return pd.DataFrame(rows, columns=["run", "k", "value", "diff", "low", "high"])
