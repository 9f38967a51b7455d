"""The audit's figures, one function each: numbers in, figure out."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hdpo.claims.reported import PROBLEMS
from hdpo.render.formats import metric_label
from hdpo.render.runs import run_label
from hdpo.render.style import COLUMN_WIDTH, PAGE_WIDTH, PALETTE, log_ticks, use_style
from hdpo.report.run_style import draw_legend, look, marker
from hdpo.stats.proportions import difference_se

HUES = {"greedy": PALETTE["orange"], "pass@4": PALETTE["sky"], "pass@8": PALETTE["blue"]}
STYLES = ["-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1, 1, 1))]


def draw_figures(audit) -> dict[str, Figure]:
    """Every figure by file stem, from what `hdpo.audit.audit.audit` returns."""
    return {
        "audit_grid": grid(audit.sizes),
        "audit_differences": reported_differences(audit.significance, audit.significance_both),
        "audit_correlation": correlation(audit.significance),
        "audit_selection": selection(audit.selection),
    }


def grid(sizes: pd.DataFrame) -> Figure:
    """How many of the reported values are shares of n problems, for every n."""
    use_style()
    figure, axis = plt.subplots(figsize=(COLUMN_WIDTH, 2.3))
    axis.plot(sizes["problems"], sizes["on_grid"], ".", ms=1.5, color=PALETTE["grey"], rasterized=True)
    axis.plot(sizes["problems"], sizes["expected"], lw=1, color=PALETTE["black"], label="expected by chance")
    axis.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(0, 0.9))
    whole = sizes["on_grid"].max()
    best = sizes[sizes["on_grid"] == whole]
    axis.plot(best["problems"], best["on_grid"], "o", ms=4, color=PALETTE["vermilion"])
    for n in best["problems"]:
        axis.annotate(f"{n}", (n, whole), (-4, 2), textcoords="offset points", ha="right", fontsize="small")
    axis.set(xlabel="number of problems n", ylabel="reported values that\nare multiples of 1/n", ylim=(-0.5, whole + 3))
    return figure


def reported_differences(significance: pd.DataFrame, both: pd.DataFrame) -> Figure:
    """Differences to GRPO as reported, beside 95 % intervals by assumption, a panel per metric."""
    use_style()
    metrics, runs = significance["metric"].unique(), significance["run"].unique()
    figure, axes = plt.subplots(1, len(metrics), figsize=(PAGE_WIDTH, 3.1), sharey=True)
    single = significance.assign(half=1.96 * significance["se_unpaired"])
    kinds = (
        ("Table 1, unpaired binomial", single[single["table"] == 1], -0.22, "sky", {"fmt": "o"}),
        ("Table 3, unpaired binomial", single[single["table"] == 3], 0.0, "sky", {"fmt": "s", "mfc": "white"}),
        ("both, spread between the two repeats", both, 0.22, "vermilion", {"fmt": "D"}),
    )
    for axis, metric in zip(axes, metrics, strict=True):
        axis.axvline(0, color=PALETTE["grey"], lw=0.8)
        for label, frame, shift, hue, shape in kinds:
            part = 100 * frame[frame["metric"] == metric].set_index("run").loc[runs, ["diff", "half"]]
            y, marks = np.arange(len(runs)) + shift, {"color": PALETTE[hue], "label": label} | shape
            axis.errorbar(part["diff"], y, xerr=part["half"], ms=4, lw=1, **marks)
        axis.set(title=metric_label(metric), xlabel="difference to GRPO, points")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", "−")))
    axes[0].set_yticks(range(len(runs)), [run_label(run) for run in runs])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    return figure


def correlation(significance: pd.DataFrame) -> Figure:
    """z of each reported difference in pass@4 and pass@8 against the correlation of the two runs' outcomes."""
    use_style()
    runs = list(significance["run"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 2.9), sharey=True)
    for axis, metric in zip(axes, ("pass@4", "pass@8"), strict=True):
        part = significance[significance["metric"] == metric]
        for row in part.itertuples():
            rho = np.linspace(0, min(0.95, row.rho_largest), 96)
            z = [row.diff / difference_se(row.baseline, row.value, PROBLEMS, value) for value in rho]
            axis.plot(rho, z, **look(row.run, runs, width=1.4 if row.table == 1 else 0.8))
            axis.plot(rho[::24], z[::24], ls="none", **marker(row.run, runs, size=3.5, hollow=row.table != 1))
        axis.axhspan(-1.96, 1.96, color=PALETTE["grey"], alpha=0.12, lw=0)
        axis.axvline(part["rho"].iloc[0], color=PALETTE["grey"], ls=":", lw=1)
        axis.annotate("difficulty", (part["rho"].iloc[0], -3.6), (-3, 0), textcoords="offset points", ha="right")
        axis.set(title=f"{metric} (hollow: Table 3)", xlabel="correlation of outcomes over problems", ylim=(-4, 6))
    axes[0].set_ylabel("z of the difference to GRPO\n(shaded: below 1.96)")
    draw_legend(figure, set(runs), runs)
    return figure


def selection(frame: pd.DataFrame) -> Figure:
    """Bias of "best of E evaluations" against E: by metric and correlation on 2048 problems, by problems for pass@8."""
    use_style()
    figure, axes = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 2.8))
    styles = dict(zip(sorted(set(frame["correlation"])), STYLES, strict=False))
    for (metric, hue), (value, style) in product(HUES.items(), styles.items()):
        part = frame.query("metric == @metric and correlation == @value and problems == @PROBLEMS")
        label = ("sampled pass@1" if metric == "greedy" else metric) if value == 0 else None
        axes[0].plot(part["evaluations"], 100 * part["bias"], color=hue, ls=style, label=label)
    for value, style in styles.items():
        axes[0].plot([], [], color=PALETTE["grey"], ls=style, label=f"ρ = {value:g}")
    for count, hue in zip(sorted(set(frame["problems"])), (PALETTE["green"], PALETTE["blue"]), strict=False):
        part = frame.query("metric == 'pass@8' and correlation == 0 and problems == @count")
        bias, sd = 100 * part["bias"], 100 * part["sd"]
        axes[1].plot(part["evaluations"], bias, color=hue, label=f"pass@8, {count} problems, ± sd")
        axes[1].fill_between(part["evaluations"], bias - sd, bias + sd, color=hue, alpha=0.15, lw=0)
    for axis in axes:
        log_ticks(axis, sorted(set(frame["evaluations"])))
        axis.set(xlabel="evaluations E of a flat curve", ylabel="bias of the best, points")
        axis.legend(fontsize="x-small")
    return figure
