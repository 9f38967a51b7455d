"""Figures of the benchmark; each function draws the result of one part."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from hdpo.render.labels import name_ends, state
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style


def draw_peers(peers: dict[str, Any]) -> Figure:
    """Step time of the kit and of TRL by model size."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.6))
    place = np.arange(len(peers["rows"]))
    kit, trl = ([row[name] for row in peers["rows"]] for name in ("hdpo_s", "trl_s"))
    axis.vlines(place, kit, trl, color=PALETTE["grey"], linewidth=1, zorder=1)
    axis.plot(place, trl, "s", color=PALETTE["orange"])
    axis.plot(place, kit, "o", color=PALETTE["blue"])
    for x, row in zip(place, peers["rows"], strict=True):
        middle = (row["hdpo_s"] * row["trl_s"]) ** 0.5
        axis.annotate(f"{row['ratio']:.1f} ×", (x, middle), xytext=(5, 0), textcoords="offset points", va="center")
    axis.margins(x=0.1)
    axis.set_xticks(place, [row["size"].replace(", ", ",\n") for row in peers["rows"]])
    axis.set_yscale("log")
    axis.set(xlabel="parameters of the model", ylabel="seconds a step")
    ratios = [row["ratio"] for row in peers["rows"]]
    state(figure, f"A step of TRL takes {min(ratios):.1f} to {max(ratios):.1f} times as long as the kit's")
    name_ends({axis: [("TRL", trl[-1], PALETTE["orange"]), ("kit", kit[-1], PALETTE["blue"])]})
    return figure


def draw_account(limits: dict[str, Any]) -> Figure:
    """Where the time of rollouts and update goes: a row per part, a panel per account, with shares of the whole."""
    use_style()
    accounts = {name: {row["part"]: row for row in rows} for name, rows in limits["accounts"].items()}
    parts = list(dict.fromkeys(part for account in accounts.values() for part in account))
    size = (PAGE_WIDTH, 1.0 + 0.22 * len(parts))
    figure, axes = plt.subplots(1, len(accounts), figsize=size, sharex=True, sharey=True, squeeze=False)
    for (name, account), axis, hue in zip(accounts.items(), axes[0], ("orange", "blue"), strict=False):
        for place, row in enumerate(account.get(part) for part in parts):
            if row:
                width = 1e3 * max(0.0, row["seconds"])
                axis.barh(place, width, color=PALETTE[hue])
                axis.annotate(f" {100 * row['share']:.0f} %", (width, place), va="center", fontsize="small")
        axis.set(title=name, xlabel="milliseconds")
        axis.margins(x=0.2)
        axis.grid(axis="y", visible=False)
    axes[0][0].set_yticks(range(len(parts)), parts, fontsize="small")
    axes[0][0].set_ylim(len(parts) - 0.4, -0.6)
    largest = {name: max(account.values(), key=lambda row: row["seconds"]) for name, account in accounts.items()}
    words = [f"{name}, {row['part']} ({100 * row['share']:.0f} %)" for name, row in largest.items()]
    state(figure, f"The largest part: {'; '.join(words)}")
    return figure


def draw_overhead(overhead: dict[str, Any]) -> Figure:
    """Against the cliff fraction: the seconds that HDPO adds, with the fitted line, and the ratio to GRPO's step."""
    use_style()
    figure, (seconds, ratios) = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 2.6), sharex=True)
    x = np.array([row["fraction"] for row in overhead["rows"]])
    fit, goal = overhead["fit"], overhead["goal"]
    seconds.plot(x, [row["overhead_s"] for row in overhead["rows"]], "o", color=PALETTE["blue"])
    seconds.plot(x, fit["intercept_s"] + fit["slope_s"] * x, color=PALETTE["grey"])
    seconds.annotate(f"fit, R² {fit['r_squared']:.3f}", (0.05, 0.9), xycoords="axes fraction", color=PALETTE["grey"])
    seconds.set_title("HDPO − GRPO, seconds a step", fontsize="medium")
    low, middle, high = ([row[name] for row in overhead["rows"]] for name in ("low", "ratio", "high"))
    ratios.plot(x, middle, "o-", color=PALETTE["blue"])
    ratios.fill_between(x, low, high, color=PALETTE["sky"], alpha=0.4)
    ratios.plot(goal["fraction"], 1.35, "X", color=PALETTE["vermilion"])
    below = {"xytext": (4, -10), "textcoords": "offset points", "color": PALETTE["vermilion"]}
    ratios.annotate("goal: below", (goal["fraction"], 1.35), **below)
    ratios.set_title("HDPO / GRPO", fontsize="medium")
    for axis in (seconds, ratios):
        axis.set_xlabel("share of prompts on a cliff")
    state(figure, f"With {100 * goal['fraction']:.0f} % cliffs, a step of HDPO takes {goal['ratio']:.2f} times GRPO's")
    return figure


def draw_growth(growth: dict[str, Any]) -> Figure:
    """Seconds of rollouts and update along each axis, log-log, with their exponents."""
    use_style()
    rows = pd.DataFrame(growth["rows"])
    axes_names = list(dict.fromkeys(rows["axis"]))
    shape = (-(-len(axes_names) // 2), min(2, len(axes_names)))
    figure, axes = plt.subplots(*shape, figsize=(PAGE_WIDTH, 0.7 + 1.7 * shape[0]), sharey=True, squeeze=False)
    fits = {(fit["axis"], fit["quantity"]): fit["exponent"] for fit in growth["fits"]}
    for name, axis in zip(axes_names, axes.flat, strict=False):
        part = rows[rows["axis"] == name]
        for quantity, label, hue in (("rollout_s", "rollouts", "orange"), ("update_s", "update", "blue")):
            text = f"{label}, {fits[name, quantity]:.2f}"
            axis.loglog(part["size"], part[quantity], "o-", ms=3, color=PALETTE[hue], label=text)
        axis.set_xticks(part["size"], [EngFormatter(places=0, sep="")(size) for size in part["size"]])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel(name)
        axis.legend(title="exponent", fontsize="small", title_fontsize="small", loc="upper left")
    for axis in axes[:, 0]:
        axis.set_ylabel("seconds")
    for axis in axes.flat[len(axes_names) :]:
        axis.set_axis_off()
    (largest, quantity), most = max(fits.items(), key=lambda item: item[1])
    words = quantity.replace("rollout_s", "rollouts over the").replace("update_s", "update over the")
    state(figure, f"The largest exponent of growth is {most:.2f}: {words} {largest}")
    return figure


# File name: the part it draws, and how.
FIGURES: dict[str, tuple[str, Callable[[dict[str, Any]], Figure]]] = {
    "step_time": ("peers", draw_peers),
    "account": ("limits", draw_account),
    "overhead": ("overhead", draw_overhead),
    "growth": ("growth", draw_growth),
}
