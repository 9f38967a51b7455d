"""The study's figures, one function each: data frame in, figure out. Their titles come from the data that they draw."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hdpo.claims.results import BASELINE, Results
from hdpo.claims.summary import summarise
from hdpo.render.formats import metric_label, percent, signed
from hdpo.render.labels import NOTHING, PERCENT, Name, key, name_ends, say_not_run, state
from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, log_ticks, save_figure, use_style
from hdpo.report.figure_data import cliff_frame, learning_frame, pass_at_k_frame, to_baseline, tradeoff_frame
from hdpo.report.run_style import color, is_highest, look, panels, paths, short_labels
from hdpo.study.study import BASE_RUN, Study

PAPER = {"8×H200": {"marker": "D", "mfc": "white"}, "8×H100": {"marker": "s", "mfc": "white"}}  # by source


def write_figures(study: Study) -> list[Path]:
    """Write learning_curves, tradeoff, cliffs and pass_at_k to `<root>/figures/`, each as PNG and PDF.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    results, folder = Results(study), study.root / "figures"
    frames = {learning_curves: learning_frame(results), tradeoff: tradeoff_frame(summarise(results))}
    frames |= {cliffs: cliff_frame(results), pass_at_k: pass_at_k_frame(results)}
    for draw, frame in frames.items():
        save_figure(draw(frame, results.runs), folder / draw.__name__)
    return sorted(folder.glob("*.p*"))


def learning_curves(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Greedy accuracy and pass@8 on the validation problems over steps, less GRPO's of the same seed; a row per family.

    Lines are means over seeds; the highest level has a band from the lowest to the highest seed.
    """
    use_style()
    metrics = [name for name in ("greedy", "pass@8") if name in set(frame["metric"])] or ["greedy"]
    drawn = to_baseline(frame, ["seed", "metric", "step"], ["value"])
    rows = panels(runs)
    size = (PAGE_WIDTH, 1.1 + 1.3 * len(rows))
    figure, axes = plt.subplots(len(rows), len(metrics), figsize=size, sharex="col", sharey=True, squeeze=False)
    names = {}
    for (title, members), row in zip(rows.items(), axes, strict=True):
        row[0].set_ylabel(title.replace(", ", ",\n"))
        for metric, axis in zip(metrics, row, strict=True):
            names[axis] = _lines(axis, drawn[drawn["metric"] == metric], "value", members, runs)
    for metric, top, bottom in zip(metrics, axes[0], axes[-1], strict=True):
        top.set_title(_quantity(metric_label(metric), drawn))
        _step_ticks(bottom, frame[frame["metric"] == metric], "value", f"GRPO's {metric_label(metric)}")
    last = drawn[(drawn["step"] == drawn["step"].max()) & drawn["metric"].isin(metrics)]
    ends = dict(iter(last.groupby(["run", "metric"])["value"].mean().unstack().items()))
    state(figure, _furthest(ends, drawn, "Validation, last step: "))
    name_ends(names)
    return figure


def tradeoff(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Differences to GRPO in greedy accuracy and pass@8 on one scale, a row per run: the study's and the paper's."""
    use_style()
    runs = list(dict.fromkeys([*runs, *frame["run"]]))
    rows = {run: place for place, run in enumerate(run for path in paths(runs) for run in path)}
    size = (PAGE_WIDTH, 1.4 + 0.28 * max(2, len(rows)))
    figure, axes = plt.subplots(1, 2, figsize=size, sharex=True, sharey=True, squeeze=False)
    own = frame["source"] == "this study"
    for axis, of, metric in zip(axes[0], "xy", ("greedy", "pass@8"), strict=True):
        axis.axvline(0, color=PALETTE["black"], lw=0.9)
        for source, part in frame[~own].groupby("source", sort=False):
            at = part["run"].map(rows) + 0.2
            axis.plot(part[of], at, ls="none", ms=4, color=PALETTE["black"], **PAPER.get(str(source), {"marker": "D"}))
        for point in frame[own].set_index("run")[[of, f"{of}_low", f"{of}_high"]].itertuples(name=None):
            run, value, low, high = point
            ends = [[value - low], [high - value]]
            axis.errorbar(value, rows[run] - 0.15, xerr=ends, fmt="o", ms=5, elinewidth=1.4, color=color(run, runs))
        axis.set_title(f"{metric} − GRPO's")
        axis.set_xlabel("points")
        axis.xaxis.set_major_formatter(PERCENT)
        if not own.any():
            say_not_run(axis)
    axes[0, 0].set_yticks(list(rows.values()), [run_label(run) for run in rows])
    axes[0, 0].set_ylim(max(len(rows), 1) - 0.4, -0.6)
    differences = frame[own].set_index("run").rename(columns={"x": "greedy", "y": "pass@8"})
    state(figure, _furthest({metric: differences[metric] for metric in ("greedy", "pass@8")}, differences))
    marks: dict[str, dict[str, Any]] = {"this study, 95 % interval": {"marker": "o"}}
    marks |= {f"paper, {name}": mark for name, mark in PAPER.items()}
    look_of: dict[str, Any] = {"ls": "none", "ms": 4, "color": PALETTE["black"]}
    key(figure, [plt.Line2D([], [], label=name, **look_of, **mark) for name, mark in marks.items()])
    return figure


def cliffs(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Share of cliff prompts less GRPO's of the same seed, and of correct privileged rollouts on them, over steps.

    Running means; lines and bands as in `learning_curves`.
    """
    use_style()
    rows = panels(runs)
    shared: dict = {"sharex": "col", "sharey": "col", "squeeze": False}
    figure, axes = plt.subplots(len(rows), 2, figsize=(PAGE_WIDTH, 1.1 + 1.3 * len(rows)), **shared)
    window = max(1, round(frame["step"].nunique() / 8))
    smooth = frame.sort_values(["run", "seed", "step"])
    columns = ["cliff_fraction", "privileged_pass_rate"]
    means = smooth.groupby(["run", "seed"])[columns].rolling(window, center=True, min_periods=1).mean()
    smooth[columns] = means.to_numpy()
    drawn = to_baseline(smooth, ["seed", "step"], ["cliff_fraction"])
    names = {}
    for (title, members), row in zip(rows.items(), axes, strict=True):
        row[0].set_ylabel(title.replace(", ", ",\n"))
        for column, axis in zip(columns, row, strict=True):
            names[axis] = _lines(axis, drawn.dropna(subset=column), column, members, runs, column == columns[0])
    titles = {columns[0]: _quantity("cliff prompts", drawn), columns[1]: "correct hinted rollouts, %"}
    for column, top, bottom in zip(columns, axes[0], axes[-1], strict=True):
        top.set_title(titles[column])
        base = smooth if column == columns[0] else smooth[smooth["run"] != BASELINE]
        _step_ticks(bottom, base, column, "GRPO's cliffs")
    last = smooth[smooth["step"] == smooth["step"].max()].groupby("run")["cliff_fraction"].mean()
    shown = [run for run in (BASELINE, *last.drop(BASELINE, errors="ignore").sort_values().index[:1]) if run in last]
    parts = "; ".join(f"{percent(last[run])} % under {run_label(run)}" for run in shown)
    state(figure, f"Prompts on a cliff at the end: {parts}" if parts else "Cliffs during training: not run")
    name_ends(names)
    return figure


def pass_at_k(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Difference to GRPO in pass@k of the final weights on the test problems, against k: a panel per family, with base.

    GRPO's own pass@k stands below the ticks.
    """
    use_style()
    shown = panels(runs)
    drawn = to_baseline(frame, ["k"], ["value"])
    shape = (1, len(shown)) if len(shown) < 3 else (len(shown), 1)
    size = (PAGE_WIDTH, 1.4 + 1.5 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey=True, squeeze=False)
    ticks, names = _few(sorted(set(frame["k"])) or [1], 5), {}
    for (title, members), axis in zip(shown.items(), axes.flat, strict=True):
        names[axis] = _lines(axis, drawn.rename(columns={"k": "step"}), "value", [BASE_RUN, *members], runs)
        axis.set_title(title)
    for axis in axes[-1]:
        log_ticks(axis, ticks, base=2)
        _baseline_ticks(axis, ticks, frame.set_index("k"), "value", "k, samples per problem", "GRPO's pass@k")
    for axis in axes[:, 0]:
        axis.set_ylabel(_quantity("pass@k", drawn))
    methods = drawn[drawn["run"] != BASE_RUN].pivot_table(index="run", columns="k", values="value", sort=False)
    state(figure, _furthest({f"pass@{k}": methods[k] for k in methods.columns[[0, -1]]} if len(methods) else {}, drawn))
    name_ends(names)
    return figure


def _lines(
    axis: Axes, frame: pd.DataFrame, y: str, members: Sequence[str], runs: Sequence[str], zero: bool = True
) -> list[Name]:
    """Mean of each run over steps, bars or a band for its spread; the names of the lines beside their last values."""
    labels, there = short_labels([run for run in members if run != BASE_RUN]), False
    names: list[Name] = []
    axis.yaxis.set_major_formatter(PERCENT)
    if zero and _is_difference(frame):
        axis.axhline(0, color=PALETTE["black"], lw=1.0)
        names.append(("GRPO", 0.0, PALETTE["black"]))
    for run in members:
        part = frame[frame["run"] == run]
        by_step = part.groupby("step")[y].agg(["mean", "min", "max"])
        if by_step.empty:
            continue
        there = True
        axis.plot(by_step.index, by_step["mean"], **look(run, runs))
        if "low" in part and part["low"].notna().any():
            axis.fill_between(part["step"], part["low"], part["high"], color=color(run, runs), alpha=0.2, lw=0)
        elif is_highest(run, runs):
            axis.fill_between(by_step.index, by_step["min"], by_step["max"], color=color(run, runs), alpha=0.15, lw=0)
        names.append((labels.get(run, "base"), by_step["mean"].iloc[-1], color(run, runs)))
    if not there:
        say_not_run(axis)
    return names


def _is_difference(frame: pd.DataFrame) -> bool:
    return len(frame) > 0 and BASELINE not in set(frame["run"])


def _quantity(name: str, drawn: pd.DataFrame) -> str:
    return f"{name} − GRPO's, points" if drawn.attrs["paired"] else f"{name}, %"


def _step_ticks(axis: Axes, frame: pd.DataFrame, y: str, name: str) -> None:
    """Ticks, below each GRPO's own mean."""
    _baseline_ticks(axis, _few(sorted(set(frame["step"])), 3), frame.set_index("step"), y, "training step", name)


def _few(ticks: Sequence[float], most: int) -> list[float]:
    places = np.linspace(0, len(ticks) - 1, min(most, len(ticks))).round().astype(int)
    return [ticks[place] for place in places]


def _baseline_ticks(axis: Axes, ticks: Sequence[float], frame: pd.DataFrame, y: str, label: str, name: str) -> None:
    base = frame[frame["run"] == BASELINE].groupby(level=0)[y].mean()
    below = [f"\n{percent(base[tick])}" if tick in base else "" for tick in ticks]
    axis.set_xticks(list(ticks), [f"{tick:g}{value}" for tick, value in zip(ticks, below, strict=True)])
    axis.set_xlabel(f"{label}\n(below: {name}, %)" if len(base) else label)


def _furthest(differences: Mapping[str, pd.Series], drawn: pd.DataFrame, start: str = "") -> str:
    """The message: which method ends furthest from GRPO in the last of the differences, and where it stands in each."""
    known = {name: values for name, values in differences.items() if len(values.dropna())}
    if not known or not drawn.attrs.get("paired", True):
        return NOTHING
    run = list(known.values())[-1].abs().idxmax()
    parts = ", ".join(f"{signed(100 * values[run])} in {name}" for name, values in known.items())
    return f"{start}{run_label(str(run))} against GRPO, in points: {parts}"
