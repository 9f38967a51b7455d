"""Figures of the benchmark; each function draws the result of one part."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style


def draw_peers(peers: dict[str, Any]) -> Figure:
    """Step time of the kit and of TRL by model size."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.4))
    place = np.arange(len(peers["rows"]))
    kit, trl = ([row[name] for row in peers["rows"]] for name in ("hdpo_s", "trl_s"))
    axis.vlines(place, kit, trl, color=PALETTE["grey"], linewidth=1, zorder=1)
    axis.plot(place, trl, "s", color=PALETTE["orange"], label="TRL")
    axis.plot(place, kit, "o", color=PALETTE["blue"], label="kit")
    for x, row in zip(place, peers["rows"], strict=True):
        middle = (row["hdpo_s"] * row["trl_s"]) ** 0.5
        axis.annotate(f"{row['ratio']:.1f} ×", (x, middle), xytext=(5, 0), textcoords="offset points", va="center")
    axis.margins(x=0.1)
    axis.set_xticks(place, [row["size"] for row in peers["rows"]])
    axis.set_yscale("log")
    axis.set_ylabel("seconds a step")
    axis.legend()
    return figure


def draw_account(limits: dict[str, Any]) -> Figure:
    """Where the time of rollouts and update goes, as bars that add up to the whole."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.2))
    parts = list(dict.fromkeys(row["part"] for rows in limits["accounts"].values() for row in rows))
    hues = list(PALETTE.values())[1:]
    left = np.zeros(len(limits["accounts"]))
    for part, hue in zip(parts, hues, strict=False):
        found = [{row["part"]: row["seconds"] for row in rows} for rows in limits["accounts"].values()]
        width = 1e3 * np.array([max(0.0, account.get(part, 0.0)) for account in found])
        axis.barh(list(limits["accounts"]), width, left=left, label=part, color=hue)
        left += width
    axis.invert_yaxis()
    axis.set_xlabel("milliseconds")
    figure.legend(loc="outside lower center", ncols=3, fontsize="x-small")
    return figure


def draw_overhead(overhead: dict[str, Any]) -> Figure:
    """Against the cliff fraction: the seconds that HDPO adds, with the fitted line, and the ratio to GRPO's step."""
    use_style()
    figure, (seconds, ratios) = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 2.4))
    x = np.array([row["fraction"] for row in overhead["rows"]])
    fit = overhead["fit"]
    seconds.plot(x, [row["overhead_s"] for row in overhead["rows"]], "o", color=PALETTE["blue"])
    seconds.plot(x, fit["intercept_s"] + fit["slope_s"] * x, color=PALETTE["grey"], label=f"R² {fit['r_squared']:.3f}")
    seconds.set_ylabel("overhead, s a step")
    seconds.legend()
    middle = [row["ratio"] for row in overhead["rows"]]
    ratios.plot(x, middle, "o-", color=PALETTE["blue"])
    ratios.fill_between(
        x,
        [row["low"] for row in overhead["rows"]],
        [row["high"] for row in overhead["rows"]],
        color=PALETTE["sky"],
        alpha=0.4,
    )
    ratios.plot(overhead["goal"]["fraction"], 1.35, "x", color=PALETTE["vermilion"], label="goal")
    ratios.set_ylabel("HDPO / GRPO")
    ratios.legend()
    for axis in (seconds, ratios):
        axis.set_xlabel("cliff fraction")
    return figure


def draw_growth(growth: dict[str, Any]) -> Figure:
    """Seconds of rollouts and update along each axis, log-log, with their exponents."""
    use_style()
    rows = pd.DataFrame(growth["rows"])
    axes_names = list(dict.fromkeys(rows["axis"]))
    figure, axes = plt.subplots(1, len(axes_names), figsize=(PAGE_WIDTH, 2.3), sharey=True, squeeze=False)
    fits = {(fit["axis"], fit["quantity"]): fit["exponent"] for fit in growth["fits"]}
    for name, axis in zip(axes_names, axes[0], strict=True):
        part = rows[rows["axis"] == name]
        for quantity, label, hue in (("rollout_s", "rollouts", "orange"), ("update_s", "update", "blue")):
            text = f"{label}, {fits[name, quantity]:.2f}"
            axis.loglog(part["size"], part[quantity], "o-", color=PALETTE[hue], label=text)
        axis.set_xticks(part["size"], [EngFormatter(places=0, sep="")(size) for size in part["size"]])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(name)
        axis.legend(fontsize="x-small")
    axes[0][0].set_ylabel("seconds")
    return figure


# File name: the part it draws, and how.
FIGURES: dict[str, tuple[str, Callable[[dict[str, Any]], Figure]]] = {
    "step_time": ("peers", draw_peers),
    "account": ("limits", draw_account),
    "overhead": ("overhead", draw_overhead),
    "growth": ("growth", draw_growth),
}
