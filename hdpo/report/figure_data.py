"""The data frames that the figures draw, one function per figure, shares throughout."""

import pandas as pd

from hdpo.claims.reported import reported_score, reported_scores
from hdpo.claims.results import BASELINE, Results, compare, metric_names
from hdpo.study.study import BASE_RUN


def learning_frame(results: Results) -> pd.DataFrame:
    """Validation scores during training: run, seed, metric, step, value."""
    rows = []
    for (run, seed), curves in results.training.items():
        curve = curves["validation"]
        for metric in metric_names(results.study):
            if metric.startswith("any@"):
                continue
            for step, value in zip(curve.steps.tolist(), curve.outcomes.score(metric).mean(axis=1), strict=True):
                rows.append({"run": run, "seed": seed, "metric": metric, "step": step, "value": value})
    return pd.DataFrame(rows, columns=["run", "seed", "metric", "step", "value"])


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
        x, y = (
            reported_score(reported, entry.table, entry.run, metric)
            - reported_score(reported, entry.table, BASELINE, metric)
            for metric in ("greedy", "pass@8")
        )
        rows.append({"source": entry.hardware.replace("x", "×"), "run": entry.run, "x": x, "y": y})
    return pd.DataFrame(rows, columns=["source", "run", *(f"{axis}{end}" for axis in "xy" for end in parts)])


def cliff_frame(results: Results) -> pd.DataFrame:
    """Cliffs over training: run, seed, step, cliff_fraction, privileged_pass_rate (nan where none were drawn)."""
    columns = ["run", "seed", "step", "cliff_fraction", "privileged_pass_rate"]
    frames = []
    for run in results.runs:
        for seed in results.seeds(run):
            metrics = results.reader.metrics(run, seed)
            if metrics is not None:
                frames.append(metrics.assign(run=run, seed=seed)[columns])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def pass_at_k_frame(results: Results) -> pd.DataFrame:
    """pass@k of the final weights, k = 1, 2, 4, … up to n: run, k, value, and diff, low, high to GRPO (paired)."""
    n, runs = results.study.evaluate.test_samples, [BASE_RUN, *results.runs]
    ks = sorted({*(2**i for i in range(n.bit_length()) if 2**i <= n), n})
    keys, contrasts = [(run, k) for k in ks for run in runs], []
    for k in ks:
        contrasts += results.contrasts("test", f"pass@{k}", [{run: 1.0} for run in runs])
        differences = [None if run == BASELINE else {run: 1.0, BASELINE: -1.0} for run in runs]
        contrasts += results.contrasts("test", f"pass@{k}", differences)
    compared, rows, width = compare(contrasts), [], len(runs)
    for i, (run, k) in enumerate(keys):
        at = 2 * width * (i // width) + i % width
        mean, difference = compared[at], compared[at + width]
        if mean is None:
            continue
        row = {"run": run, "k": k, "value": mean.value}
        if difference is not None:
            row |= {"diff": difference.value, "low": difference.low, "high": difference.high}
        rows.append(row)
    return pd.DataFrame(rows, columns=["run", "k", "value", "diff", "low", "high"])
