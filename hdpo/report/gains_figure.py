"""The figure of where gains come from, and what it shows in a line."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hdpo.render.formats import thousands
from hdpo.render.labels import PERCENT, Name, name_ends, say_not_run, state
from hdpo.render.runs import family_label, parse_run
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.report.run_style import line_style, paths

ALL = "all"
CLASSES = ("base never", "base rarely", "base often")
DRAWN = ("greedy", "pass@8")
LEVEL = 0.05  # of the corrected p, up to which a difference counts as seen


def message(frame: pd.DataFrame) -> str:
    """Where the gains in pass@8 that count as seen come from, in a line; `frame` as `gain_frame` gives it."""
    part = frame[frame["metric"] == DRAWN[-1]]
    gainers = part.loc[(part["subset"] == ALL) & (part["diff"] > 0) & (part["p_holm"] <= LEVEL), "run"]
    if gainers.empty:
        return f"No gain over GRPO in {DRAWN[-1]} is seen"
    adds = part[part["run"].isin(gainers) & part["subset"].isin(CLASSES)].groupby("subset")["adds"].sum()
    if adds.empty:
        return f"{len(gainers)} of {part['run'].nunique()} methods gain on GRPO in {DRAWN[-1]}"
    much = "mostly" if adds.max() > adds.sum() / 2 else "more than elsewhere"
    return (
        f"Gains in {DRAWN[-1]} come {much} from problems that the {adds.idxmax().replace('base', 'base model')} solves"
    )


def gains_figure(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """What each class of problems adds to the difference to GRPO, and the whole; a line per family, by level."""
    use_style()
    titles = {name: f"{name}\nsolves" for name in CLASSES} | {ALL: "all,\nthe sum"}
    shape, size = (len(DRAWN), len(titles)), (PAGE_WIDTH, 3.8)
    figure, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey=True, squeeze=False)
    families = [path for path in paths(runs) if set(path) & set(frame["run"])]
    levels = sorted({parse_run(run).level for path in families for run in path})
    names: dict[Axes, list[Name]] = {row[-1]: [] for row in axes}
    for metric, row in zip(DRAWN, axes, strict=True):
        row[0].set_ylabel(f"{metric} − GRPO's,\npoints of all problems", fontsize="small")
        row[0].yaxis.set_major_formatter(PERCENT)
        for (subset, title), axis in zip(titles.items(), row, strict=True):
            axis.axhline(0, color=PALETTE["black"], lw=1.0)
            part = frame[(frame["metric"] == metric) & (frame["subset"] == subset)].set_index("run")
            if metric == DRAWN[0]:
                count = f" ({thousands(part['problems'].iloc[0])})" if len(part) else ""
                axis.set_title(title + count, fontsize="small")
            for place, path in enumerate(families):
                shown = part.loc[[run for run in path if run in part.index]]
                x = [levels.index(parse_run(run).level) for run in shown.index]
                dodge = 0.16 * (place - (len(families) - 1) / 2)  # so that intervals can be told apart
                ends = np.nan_to_num([shown["diff"] - shown["low"], shown["high"] - shown["diff"]])
                weight = shown["problems"].to_numpy() / frame["problems"].max()
                style = line_style(path[0], runs) | {"marker": "o", "ms": 3, "elinewidth": 0.9}
                axis.errorbar(np.add(x, dodge), shown["adds"], ends * weight, **style)
                if axis in names and len(shown):
                    name = family_label(parse_run(path[0]).family).replace(" teacher", "\nteacher")
                    names[axis].append((name, shown["adds"].iloc[-1], style["color"]))
            if part.empty:
                say_not_run(axis)
    for axis in axes[-1]:
        axis.set_xticks(range(len(levels)), [_level(level) for level in levels], fontsize="small")
        axis.set_xlabel("λ" if all(parse_run(run).method == "hdpo" for path in families for run in path) else "setting")
    state(figure, message(frame))
    name_ends(names)
    return figure


def _level(level: tuple[tuple[float, ...], tuple[str, ...]]) -> str:
    return ", ".join([*(f"{value:g}" for value in level[0]), *level[1]]) or "—"
