"""The audit's figures, one function each: numbers in, figure out."""

from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hdpo.claims.reported import PROBLEMS
from hdpo.render.formats import metric_label
from hdpo.render.labels import Name, key, name_ends, state
from hdpo.render.runs import parse_run, run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, log_ticks, use_style
from hdpo.report.run_style import level_label
from hdpo.stats.proportions import difference_se

HUES = [PALETTE[name] for name in ("orange", "blue", "green", "purple")]


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
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.6))
    axis.plot(sizes["problems"], sizes["on_grid"], ".", ms=1.5, color=PALETTE["grey"], rasterized=True)
    axis.plot(sizes["problems"], sizes["expected"], lw=1, color=PALETTE["black"])
    whole = sizes["on_grid"].max()
    best = sizes[sizes["on_grid"] == whole]
    axis.plot(best["problems"], best["on_grid"], "o", ms=4, color=PALETTE["vermilion"])
    for n in best["problems"]:
        axis.annotate(f"{n}", (n, whole), (-4, 2), textcoords="offset points", ha="right", fontsize="small")
    axis.set(xlabel="number of problems n", ylabel="reported values that\nare multiples of 1/n", ylim=(-0.5, whole + 4))
    counts = ", ".join(f"{n}" for n in best["problems"].head(3)) + (", …" if len(best) > 3 else "")
    state(figure, f"At most {whole} reported values are multiples of 1/n: at n = {counts}")
    name_ends({axis: [("by chance", sizes["expected"].iloc[-1], PALETTE["black"])]})
    return figure


def reported_differences(significance: pd.DataFrame, both: pd.DataFrame) -> Figure:
    """Differences to GRPO as reported, beside 95 % intervals by assumption, a panel per metric."""
    use_style()
    metrics, runs = significance["metric"].unique(), significance["run"].unique()
    figure, axes = plt.subplots(1, len(metrics), figsize=(PAGE_WIDTH, 3.1), sharex=True, sharey=True)
    single = significance.assign(half=1.96 * significance["se_unpaired"])
    kinds = (
        ("Table 1", single[single["table"] == 1], -0.22, "sky", {"fmt": "o"}),
        ("Table 3 (both by binomial error)", single[single["table"] == 3], 0.0, "sky", {"fmt": "s", "mfc": "white"}),
        ("both, by their spread", both, 0.22, "vermilion", {"fmt": "D"}),
    )
    for axis, metric in zip(axes, metrics, strict=True):
        axis.axvline(0, color=PALETTE["grey"], lw=0.8)
        for label, frame, shift, hue, shape in kinds:
            part = 100 * frame[frame["metric"] == metric].set_index("run").loc[runs, ["diff", "half"]]
            y, marks = np.arange(len(runs)) + shift, {"color": PALETTE[hue], "label": label} | shape
            axis.errorbar(part["diff"], y, xerr=part["half"], ms=4, lw=1, **marks)
        axis.set_title(metric_label(metric))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}".replace("-", "−")))
    axes[len(metrics) // 2].set_xlabel("reported difference to GRPO, points")
    axes[0].set_yticks(range(len(runs)), [run_label(run).removeprefix("HDPO ") for run in runs])
    axes[0].invert_yaxis()
    key(figure, axes[0].get_legend_handles_labels()[0])
    both = both[both["run"].isin(runs)]
    seen = [(abs(frame["diff"]) > frame["half"]).sum() for frame in (single, both)]
    found = f"{seen[0]} of {len(single)} exclude 0 by binomial error, {seen[1]} of {len(both)} by their spread"
    state(figure, f"Reported differences: {found}")
    return figure


def correlation(significance: pd.DataFrame) -> Figure:
    """z of each reported difference in pass@4 and pass@8 against the correlation of the two runs' outcomes."""
    use_style()
    runs = list(significance["run"].unique())
    levels = dict(zip(dict.fromkeys(parse_run(run).level for run in runs), HUES, strict=False))
    figure, axes = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 2.9), sharey=True)
    names: dict[Axes, list[Name]] = {}
    for axis, metric in zip(axes, ("pass@4", "pass@8"), strict=True):
        part, ends = significance[significance["metric"] == metric], defaultdict(list)
        for row in part.itertuples():
            rho, level = np.linspace(0, min(0.95, row.rho_largest), 96), parse_run(row.run).level
            z = [row.diff / difference_se(row.baseline, row.value, PROBLEMS, value) for value in rho]
            axis.plot(rho, z, color=levels[level], lw=1.2, ls="-" if row.table == 1 else "--")
            ends[level_label(row.run), levels[level]].append(z[-1])
        axis.axhspan(-1.96, 1.96, color=PALETTE["grey"], alpha=0.12, lw=0)
        axis.axvline(part["rho"].iloc[0], color=PALETTE["grey"], ls=":", lw=1)
        axis.annotate("ρ implied by\ndifficulty", (part["rho"].iloc[0] - 0.03, -3.7), ha="right", fontsize="small")
        axis.annotate("|z| below 1.96", (0.02, -1.75), fontsize="small")
        axis.set(title=metric, xlabel="correlation ρ of outcomes", ylim=(-4, 6))
        names[axis] = [(name, min(5.5, float(np.mean(values))), color) for (name, color), values in ends.items()]
    axes[0].set_ylabel("z of the difference to GRPO")
    key(figure, [plt.Line2D([], [], color="black", ls=ls, label=f"Table {n}") for n, ls in ((1, "-"), (3, "--"))])
    shown = significance[significance["metric"].isin(("pass@4", "pass@8"))]
    paired = [difference_se(row.baseline, row.value, PROBLEMS, row.rho) for row in shown.itertuples()]
    counts = [(abs(shown["diff"]) > 1.96 * se).sum() for se in (shown["se_unpaired"], np.array(paired))]
    state(figure, f"Of {len(shown)} reported differences, {counts[0]} pass 1.96 unpaired and {counts[1]} paired")
    name_ends(names)
    return figure


def selection(frame: pd.DataFrame) -> Figure:
    """Bias of "best of E evaluations" against E, in three panels: by metric, by correlation, by number of problems."""
    use_style()
    whole, free = frame["problems"] == PROBLEMS, frame["correlation"] == 0
    of_pass = frame["metric"] == "pass@8"
    panels = (
        ("by metric", frame[whole & free].replace({"greedy": "pass@1"}), "metric", "{}"),
        ("pass@8 by correlation", frame[whole & of_pass], "correlation", "ρ = {:g}"),
        ("pass@8 by problems", frame[free & of_pass], "problems", "n = {}"),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(PAGE_WIDTH, 2.7), sharey=True)
    names: dict[Axes, list[Name]] = {}
    for axis, (title, shown, by, label) in zip(axes, panels, strict=True):
        lines = shown.groupby(by, sort=False)
        parts = [(label.format(value), part, hue) for (value, part), hue in zip(lines, HUES, strict=False)]
        for _, part, hue in parts:
            axis.plot(part["evaluations"], 100 * part["bias"], color=hue)
        names[axis] = [(name, 100 * part["bias"].iloc[-1], hue) for name, part, hue in parts]
        log_ticks(axis, sorted(set(frame["evaluations"]))[::3])
        axis.set_title(title, fontsize="small")
    axes[0].set_ylabel("bias of the best, points")
    axes[1].set_xlabel("evaluations E of a flat curve")
    worst = frame[whole & free].sort_values(["evaluations", "bias"]).iloc[-1]
    where = f"{worst['metric'].replace('greedy', 'sampled pass@1')} on {PROBLEMS} problems"
    count, bias = worst["evaluations"], 100 * worst["bias"]
    state(figure, f"The best of {count} evaluations of a flat curve is {bias:.1f} points too high in {where}")
    name_ends(names)
    return figure
