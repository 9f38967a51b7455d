"""The study's figures, one function each: data frame in, figure out."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hdpo.claims.results import BASELINE, Results
from hdpo.claims.summary import summarise
from hdpo.render.formats import metric_label
from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, log_ticks, save_figure, use_style
from hdpo.report.figure_data import cliff_frame, learning_frame, pass_at_k_frame, tradeoff_frame
from hdpo.report.run_style import color, draw_legend, line_style, look, marker, panels, paths
from hdpo.study.study import BASE_RUN, Study

PERCENT = FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}".replace("-", "−"))


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
    """Validation scores over steps, a row per family; mean over seeds, band from the lowest to the highest seed."""
    use_style()
    rows, metrics = panels(runs), list(dict.fromkeys(frame["metric"])) or ["greedy"]
    size = (PAGE_WIDTH, 0.5 + 1.65 * len(rows))
    figure, axes = plt.subplots(len(rows), len(metrics), figsize=size, sharex=True, sharey="col", squeeze=False)
    for (title, shown), row in zip(rows.items(), axes, strict=True):
        for metric, axis in zip(metrics, row, strict=True):
            part = frame[frame["metric"] == metric]
            for run in shown:
                _band(axis, part[part["run"] == run], "value", run, runs)
            axis.yaxis.set_major_formatter(PERCENT)
            axis.yaxis.set_major_locator(MaxNLocator(5))
        row[0].set_ylabel(title.replace(", ", ",\n") + "\nvalidation, %")
    for metric, top, bottom in zip(metrics, axes[0], axes[-1], strict=True):
        top.set_title(metric_label(metric))
        bottom.set_xlabel("training step")
    return _finish(figure, axes, set(frame["run"]), runs)


def tradeoff(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Greedy accuracy against pass@8, both as differences to GRPO: this study's runs and the paper's."""
    use_style()
    figure, axes = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 3.0), squeeze=False)
    own = frame["source"] == "this study"
    runs = list(dict.fromkeys([*runs, *frame["run"]]))
    panels = (
        ("this study: test problems, 95 % intervals", own),
        ("paper: best over training, one seed (hollow: 8×H100)", ~own),
    )
    for axis, (title, rows) in zip(axes[0], panels, strict=True):
        axis.axhline(0, color=PALETTE["grey"], lw=0.8)
        axis.axvline(0, color=PALETTE["grey"], lw=0.8)
        axis.plot(0, 0, **marker(BASELINE, runs))
        part = frame[rows]
        for source in dict.fromkeys(part["source"]):
            hollow = source.endswith("H100")
            points = part[part["source"] == source].set_index("run")
            for path in paths(points.index):
                line = pd.concat([pd.DataFrame({"x": [0.0], "y": [0.0]}), points.loc[path, ["x", "y"]]])
                axis.plot(line["x"], line["y"], **line_style(path[0], runs), lw=0.9, alpha=0.6, zorder=1)
                for run in path:
                    _cross(axis, points.loc[run], run, runs, hollow)
        axis.set_title(title, fontsize="small")
        axis.set_xlabel("greedy accuracy − GRPO's, points")
        for ticks in (axis.xaxis, axis.yaxis):
            ticks.set_major_formatter(PERCENT)
        if part.empty:
            say_not_run(axis)
    axes[0, 0].set_ylabel("pass@8 − GRPO's, points")
    return _finish(figure, axes, {BASELINE, *frame["run"]}, runs)


def cliffs(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Share of cliff prompts, and of correct privileged rollouts on them, over steps; as running means."""
    use_style()
    shown = panels(runs)
    figure, axes = plt.subplots(2, len(shown), figsize=(PAGE_WIDTH, 3.9), sharex=True, sharey="row", squeeze=False)
    window = max(1, round(frame["step"].nunique() / 12))
    columns = {"cliff_fraction": "cliff prompts, %", "privileged_pass_rate": "privileged rollouts\ncorrect, %"}
    for row, (column, label) in zip(axes, columns.items(), strict=True):
        row[0].set_ylabel(label)
        for members, axis in zip(shown.values(), row, strict=True):
            for run in members:
                part = frame[frame["run"] == run].sort_values(["seed", "step"])
                smooth = part.groupby("seed")[column].rolling(window, center=True, min_periods=1).mean()
                part = part.assign(smooth=smooth.to_numpy()).dropna(subset="smooth")
                _band(axis, part, "smooth", run, runs)
            axis.yaxis.set_major_formatter(PERCENT)
            axis.set_ylim(bottom=0)
    for title, top, bottom in zip(shown, axes[0], axes[1], strict=True):
        top.set_title(title)
        bottom.set_xlabel(f"training step (running mean of {window})")
    return _finish(figure, axes, set(frame["run"]), runs)


def pass_at_k(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """pass@k against k, test problems: the curves above, their differences to GRPO with 95 % intervals below."""
    use_style()
    columns = panels(runs)
    figure, axes = plt.subplots(2, len(columns), figsize=(PAGE_WIDTH, 4.3), sharex=True, sharey="row", squeeze=False)
    for (title, members), top, bottom in zip(columns.items(), axes[0], axes[1], strict=True):
        bottom.axhline(0, color=PALETTE["black"], lw=1.0)
        shown = [BASE_RUN, *members]
        for place, run in enumerate(shown):
            part = frame[frame["run"] == run]
            top.plot(part["k"], part["value"], label=run_label(run), **look(run, runs), **marker(run, runs, size=3.5))
            if run in (BASE_RUN, BASELINE) or part.empty:
                continue
            k = part["k"] * 2 ** (0.13 * (place - len(shown) / 2))  # side by side, so that intervals can be told apart
            spread = [(part["diff"] - part["low"]).fillna(0), (part["high"] - part["diff"]).fillna(0)]
            bottom.errorbar(k, part["diff"], spread, **look(run, runs, width=0.9), **marker(run, runs, size=3.5))
        for axis in (top, bottom):
            log_ticks(axis, sorted(set(frame["k"])) or [1], base=2)
            axis.yaxis.set_major_formatter(PERCENT)
        top.set_title(title)
        bottom.set_xlabel("k, samples per problem")
    axes[0, 0].set_ylabel("pass@k, test, %")
    axes[1, 0].set_ylabel("pass@k − GRPO's,\npoints")
    return _finish(figure, axes, set(frame["run"]), runs)


def _band(axis: Axes, part: pd.DataFrame, y: str, run: str, runs: Sequence[str]) -> None:
    """Mean over seeds as a line over steps, lowest to highest seed as a band."""
    by_step = part.groupby("step")[y].agg(["mean", "min", "max"])
    if len(by_step):
        marks = marker(run, runs, size=3.5) | {"markevery": max(1, len(by_step) // 8)}
        axis.plot(by_step.index, by_step["mean"], label=run_label(run), **look(run, runs), **marks)
        axis.fill_between(by_step.index, by_step["min"], by_step["max"], color=color(run, runs), alpha=0.13, lw=0)


def _cross(axis: Axes, point: pd.Series, run: str, runs: Sequence[str], hollow: bool) -> None:
    """A point with its horizontal and vertical interval, where it has one."""
    x, y = ([[point[of] - point[f"{of}_low"]], [point[f"{of}_high"] - point[of]]] for of in "xy")
    style = marker(run, runs, hollow=hollow) | {"ecolor": color(run, runs)}
    axis.errorbar(point["x"], point["y"], xerr=x, yerr=y, elinewidth=0.8, ls="none", **style)


def say_not_run(axis: Axes) -> None:
    axis.annotate("not run", (0.5, 0.7), xycoords="axes fraction", ha="center", color=PALETTE["grey"])


def _finish(figure: Figure, axes: np.ndarray, there: set[str], runs: Sequence[str]) -> Figure:
    """One legend below for the runs that are there; panels without data say so."""
    for axis in axes.flat:
        if not axis.has_data():
            say_not_run(axis)
    draw_legend(figure, there, runs)
    return figure
