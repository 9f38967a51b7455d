"""The figure of methods side by side: coverage gained against accuracy gained, marker size by cost."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.study.registry import parse_run

COLORS = {
    "nothing more": PALETTE["grey"],
    "reference": PALETTE["orange"],
    "hinted rollouts": PALETTE["blue"],
    "teacher's view": PALETTE["green"],
}


def color_of(run: str) -> str:
    """The colour of what the run's method learns from on a cliff."""
    return COLORS[parse_run(run).learns_from]


def comparison_figure(gains: pd.DataFrame, costs: pd.DataFrame, regimes: list[str]) -> Figure:
    """Differences to GRPO in points with 95 % intervals: pass@8 up, greedy accuracy to the right, a panel per regime.

    The area of a marker is the number of tokens generated beside GRPO's; its colour says what a cliff is learned from.
    """
    use_style()
    figure, axes = plt.subplots(1, len(regimes), figsize=(PAGE_WIDTH, 3.6), squeeze=False)
    for name, axis in zip(regimes, axes[0], strict=True):
        part = gains[gains["regime"] == name].set_index("run")
        x, y = (100 * part[part["outcome"] == metric][["diff", "low", "high"]] for metric in ("greedy", "pass@8"))
        cost = costs[costs["regime"] == name].set_index("run")["generated"]
        for axline in (axis.axhline, axis.axvline):
            axline(0, color=PALETTE["black"], lw=0.9)
        for run in x.index.intersection(y.index):
            color = color_of(run)
            (at, left, right), (up, low, high) = x.loc[run], y.loc[run]
            axis.errorbar(
                at, up, [[up - low], [high - up]], [[at - left], [right - at]], color=color, lw=0.7, alpha=0.6
            )
            axis.scatter(at, up, s=30 * cost.get(run, 1.0), color=color, zorder=3)
            axis.annotate(run_label(run), (at, up), (4, 3), textcoords="offset points", fontsize=5.5, color=color)
        axis.set_title(name[0].upper() + name[1:], fontsize="medium")
        axis.set_xlabel("greedy accuracy − GRPO's, points")
    axes[0][0].set_ylabel("pass@8 − GRPO's, points")
    for place, (label, color) in enumerate(COLORS.items()):
        axes[0][-1].annotate(
            label, (0.02, 0.97 - 0.06 * place), xycoords="axes fraction", color=color, fontsize=6.5, va="top"
        )
    return figure
