"""The figure of methods side by side: coverage and accuracy gained, and tokens spent."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hdpo.render.formats import signed
from hdpo.render.labels import NOTHING, darker, key, name_ends, state
from hdpo.render.runs import BASELINE, run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.study.registry import parse_run

COLORS = {
    "nothing more": PALETTE["grey"],
    "reference": PALETTE["orange"],
    "hinted rollouts": PALETTE["blue"],
    "teacher's view": PALETTE["green"],
}

LONGER = "longer"  # setting in the name of a row that is GRPO with other steps, and no run
GRPO_LONGER = f"{BASELINE}+{LONGER}"
METRICS = ("pass@8", "greedy")
PANELS = {f"{metric} − GRPO's": ("points", 0) for metric in METRICS} | {"tokens": ("× GRPO's", 1)}


def color_of(run: str) -> str:
    """The colour of what the run's method learns from on a cliff."""
    return COLORS[learns_from(run)]


def learns_from(run: str) -> str:
    """What the run's method learns from on a cliff."""
    return parse_run(run.removesuffix(f"+{LONGER}")).learns_from


def color_key(figure: Figure) -> None:
    """What the colours say, below the panels."""
    marks: dict[str, Any] = {"ls": "none", "marker": "o"}
    key(figure, [plt.Line2D([], [], label=label, color=color, **marks) for label, color in COLORS.items()])


def comparison_figure(gains: pd.DataFrame, costs: pd.DataFrame, regimes: list[str]) -> Figure:
    """Differences to GRPO in points with 95 % intervals, and tokens generated beside GRPO's: a row per method.

    Colours say what a method learns from on a cliff, shape and filling of a mark the regime.
    """
    use_style()
    runs = list(dict.fromkeys(gains["run"]))
    ordered = [run for color in COLORS.values() for run in runs if color_of(run) == color]
    rows = {run: place for place, run in enumerate(ordered)}
    size, ratios = (PAGE_WIDTH, 1.7 + 0.26 * max(2, len(rows))), {"width_ratios": [2, 2, 1]}
    figure, axes = plt.subplots(1, 3, figsize=size, sharey=True, gridspec_kw=ratios)
    axes[1].sharex(axes[0])
    for place, name in enumerate(regimes):
        shift = 0.32 * (place / max(1, len(regimes) - 1) - 0.5)
        for axis, metric in zip(axes, METRICS, strict=False):
            part = gains[(gains["regime"] == name) & (gains["outcome"] == metric)].set_index("run")
            for run, value, low, high in (100 * part[["diff", "low", "high"]]).itertuples(name=None):
                ends = [[value - low], [high - value]]
                axis.errorbar(value, rows[run] + shift, xerr=ends, elinewidth=1.2, **_mark(color_of(run), place))
        cost = costs[(costs["regime"] == name) & costs["run"].isin(rows)].set_index("run")["generated"]
        for run, value in cost.items():
            axes[2].plot(value, rows[run] + shift, **_mark(color_of(run), place))
    for axis, (title, (label, none)) in zip(axes, PANELS.items(), strict=True):
        axis.axvline(none, color=PALETTE["black"], lw=0.9)
        axis.set_title(title)
        axis.set_xlabel(label)
    axes[2].margins(x=0.2)
    axes[0].set_yticks(list(rows.values()), [run_label(run) for run in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    for tick, run in zip(axes[0].get_yticklabels(), rows, strict=True):
        tick.set_color(darker(color_of(run)))
    used = {label: color for label, color in COLORS.items() if color in set(map(color_of, rows))}
    handles = [plt.Line2D([], [], label=label, **_mark(color, 0)) for label, color in used.items()]
    handles += [plt.Line2D([], [], label=name, **_mark("black", place)) for place, name in enumerate(regimes)]
    key(figure, handles, ncols=3)
    state(figure, _message(gains, regimes))
    return figure


def _mark(color: str, place: int) -> dict:
    """Filled, hollow, and so on with the next shape, by the place of a regime."""
    face = "white" if place % 2 else color
    return {"marker": "osD^"[place // 2 % 4], "ls": "none", "ms": 4.5, "color": color, "mfc": face}


def _message(gains: pd.DataFrame, regimes: list[str]) -> str:
    """Which method gains most in pass@8, by regime."""
    parts = []
    for name in regimes:
        part = gains[(gains["regime"] == name) & (gains["outcome"] == "pass@8")].set_index("run")["diff"]
        if len(part):
            parts.append(f"{name} {signed(100 * part.max())} points ({run_label(str(part.idxmax()))})")
    return f"Most pass@8 beyond GRPO: {'; '.join(parts)}" if parts else NOTHING


def front_figure(gains: pd.DataFrame, costs: pd.DataFrame, regimes: list[str]) -> Figure:
    """Coverage gained on GRPO against accuracy gained, a panel per regime; the area of a mark is the tokens generated.

    Named are the methods that no other one beats in both, and HDPO. Each panel has its own scale.
    """
    use_style()
    figure, axes = plt.subplots(1, max(1, len(regimes)), figsize=(PAGE_WIDTH, 3.1), squeeze=False)
    names = {}
    for axis, name in zip(axes[0], regimes, strict=False):
        part = gains[gains["regime"] == name].pivot_table(index="run", columns="outcome", values="diff", sort=False)
        part = 100 * part.reindex(columns=[*METRICS]).dropna()
        spent = costs[costs["regime"] == name].set_index("run")["generated"].reindex(part.index).fillna(1)
        for run, (coverage, accuracy) in zip(part.index, part.to_numpy(), strict=True):
            axis.scatter(accuracy, coverage, s=22 * spent[run], color=color_of(run), alpha=0.75, lw=0)
        axis.plot(0, 0, "x", color=PALETTE["black"], ms=5)
        for line in (axis.axhline, axis.axvline):
            line(0, color=PALETTE["black"], lw=0.9)
        named = [run for run in part.index if unbeaten(part, run) or run.startswith("hdpo-")]
        names[axis] = [(run_label(run), float(part.loc[run, "pass@8"]), color_of(run)) for run in named]
        axis.set_title(name)
        axis.set_xlabel("greedy accuracy − GRPO's, points")
    axes[0][0].set_ylabel("pass@8 − GRPO's, points")
    color_key(figure)
    state(figure, _message(gains, regimes))
    name_ends(names)
    return figure


def unbeaten(part: pd.DataFrame, run: str) -> bool:
    """Whether no other method is better in every column."""
    return not (part > part.loc[run]).all(axis=1).any()
