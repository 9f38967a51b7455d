"""The figures of the map: gain by depth and λ, and gain against λ × steps."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hdpo.render.formats import signed
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style

MARKERS = {"seldom seen": "o", "seen with other solutions": "s"}
SHOWN = {"pass@8": "pass@8", "greedy": "greedy accuracy"}


def map_figure(frame: pd.DataFrame) -> Figure:
    """A cell per depth and λ, coloured by the difference to GRPO in points; its edge is thick where 0 is excluded."""
    use_style()
    part = frame[frame["subset"] == "all"]
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(PAGE_WIDTH, 3.4), sharey=True)
    limit = 100 * part["diff"].abs().max() if len(part) else 1.0
    zero = _below(part)
    for (metric, label), axis in zip(SHOWN.items(), axes, strict=True):
        cells = part[part["metric"] == metric]
        for way, marker in MARKERS.items():
            of_way = cells[cells["way"] == way]
            seen = (of_way["low"] > 0) | (of_way["high"] < 0)
            axis.scatter(
                of_way["depth"].clip(lower=zero),
                of_way["weight"],
                c=100 * of_way["diff"],
                s=330,
                marker=marker,
                cmap="RdBu",
                vmin=-limit,
                vmax=limit,
                edgecolors=PALETTE["black"],
                linewidths=np.where(seen, 1.6, 0.3),
            )
        for row in cells.itertuples():
            strong = abs(100 * row.diff) > 0.6 * limit
            color = "white" if strong else PALETTE["black"]
            at = max(row.depth, zero), row.weight
            axis.annotate(signed(100 * row.diff), at, ha="center", va="center", fontsize=5.5, color=color)
        axis.set_title(f"HDPO − GRPO, {label}, points", fontsize="medium")
        _log_depth(axis, cells["depth"], zero)
        axis.set_yscale("log")
        axis.margins(0.15, 0.2)
    axes[0].set_ylabel("λ")
    shapes = "; ".join(f"{'circle' if mark == 'o' else 'square'}: {way}" for way, mark in MARKERS.items())
    figure.supxlabel(f"share of single tries that the base model solves on the hardest size ({shapes})", fontsize=7)
    return figure


def steps_figure(frame: pd.DataFrame) -> Figure:
    """Gain in pass@8 on the validation problems against λ × steps, a panel per depth, a line per λ."""
    use_style()
    part = frame[(frame["subset"] == "validation") & (frame["metric"] == "pass@8")]
    depths = part.groupby("study", sort=False)["depth"].first().sort_values()
    count = max(1, len(depths))
    figure, axes = plt.subplots(1, count, figsize=(PAGE_WIDTH, 2.4), sharey=True, squeeze=False)
    shades = [PALETTE[name] for name in ("sky", "blue", "purple", "vermilion")]
    colors = dict(zip(sorted(part["weight"].unique()), shades, strict=False))
    for (study, depth), axis in zip(depths.items(), axes[0], strict=False):
        axis.axhline(0, color=PALETTE["black"], lw=0.9)
        for _, line in part[part["study"] == study].groupby("run"):
            x, y, weight = line["weight"] * line["step"], 100 * line["diff"], line["weight"].iloc[0]
            axis.plot(x, y, color=colors.get(weight), marker="o", ms=2.5)
            axis.annotate(f"{weight:g}", (x.iloc[-1], y.iloc[-1]), color=colors.get(weight), fontsize=6)
        axis.set_xscale("log")
        axis.set_title(f"depth {100 * depth:.2g} %", fontsize="small")
        axis.set_xlabel("λ × steps", fontsize="small")
    axes[0][0].set_ylabel("pass@8 − GRPO's, points")
    return figure


def _below(part: pd.DataFrame) -> float:
    """Where a depth of exactly 0 stands on the logarithmic axis."""
    positive = part.loc[part["depth"] > 0, "depth"]
    return float(positive.min()) / 6 if len(positive) else 1e-5


def _log_depth(axis: Axes, depths: pd.Series, zero: float) -> None:
    axis.set_xscale("log")
    if (depths == 0).any():
        axis.axvline(2.2 * zero, color=PALETTE["grey"], lw=0.6, ls=":")
        axis.annotate("0", (zero, 0.01), xycoords=("data", "axes fraction"), ha="center", fontsize=6)
