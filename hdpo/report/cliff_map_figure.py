"""The figures of the map: gain by depth and λ, and gain against λ × steps."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hdpo.render.formats import signed
from hdpo.render.labels import NOTHING, key, state
from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.report.gains_figure import LEVEL
from hdpo.report.run_style import line_style

WAYS = {"seldom seen": "seldom seen", "seen with other solutions": "seen with\nother solutions"}  # as they are written
SHOWN = {  # title: metric, whether on the hardest size alone
    "pass@8": ("pass@8", False),
    "greedy accuracy": ("greedy", False),
    "pass@8, hardest size": ("pass@8", True),
}
COLUMNS = 3  # of panels in `steps_figure`


def map_figure(frame: pd.DataFrame) -> Figure:
    """A cell per depth and method with the difference to GRPO in points, bold where it is seen."""
    use_style()
    test = frame[frame["subset"] != "validation"]
    runs = list(test.sort_values(["weight", "run"], ascending=[False, True])["run"].drop_duplicates())
    ways = [way for way in WAYS if way in set(test["way"])] or list(WAYS)[:1]
    columns = {way: _depths(test[test["way"] == way]) for way in ways}
    size = (PAGE_WIDTH, 1.0 + len(SHOWN) * (0.35 + 0.19 * max(2, len(runs))))
    ratios = {"width_ratios": [max(1, len(depths)) for depths in columns.values()]}
    figure, axes = plt.subplots(
        len(SHOWN), len(ways), figsize=size, sharex="col", sharey=True, squeeze=False, gridspec_kw=ratios
    )
    for (title, (metric, hardest)), row in zip(SHOWN.items(), axes, strict=True):
        part = test[(test["metric"] == metric) & (test["subset"].ne("all") == hardest)]
        limit = part["diff"].abs().max() if len(part) else 1.0
        for (way, depths), axis in zip(columns.items(), row, strict=True):
            cells = part[part["way"] == way].set_index(["run", "study"])
            grid = cells["diff"].unstack().reindex(index=runs, columns=depths.index)
            if grid.size:
                axis.imshow(grid, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
            for (run, study), cell in cells.iterrows():
                at = depths.index.get_loc(study), runs.index(run)
                color = "white" if abs(cell["diff"]) > 0.6 * limit else PALETTE["black"]
                weight = "bold" if cell["p_holm"] <= LEVEL else "normal"
                text = signed(100 * cell["diff"], 1 if limit < 0.1 else 0)
                axis.annotate(text, at, ha="center", va="center", fontsize=7, color=color, fontweight=weight)
            axis.grid(visible=False)
        row[0].set_title(f"{title} − GRPO's, points", loc="left")
    for (way, depths), axis in zip(columns.items(), axes[-1], strict=True):
        axis.set_xticks(range(len(depths)), [f"{100 * depth:.2g}" for depth in depths])
        axis.set_xlabel(f"depth, %\n({WAYS[way]})", fontsize="small")
    axes[0][0].set_yticks(range(len(runs)), [run_label(run) for run in runs], fontsize="small")
    state(figure, _largest(test[(test["metric"] == "pass@8") & (test["subset"] == "all")], "Largest gain in pass@8"))
    return figure


def steps_figure(frame: pd.DataFrame) -> Figure:
    """Gain in pass@8 on the validation problems against λ × steps, a panel per depth, a line per run."""
    use_style()
    part = frame[(frame["subset"] == "validation") & (frame["metric"] == "pass@8")]
    depths = _depths(part)
    count = max(1, len(depths))
    shape = (-(-count // COLUMNS), min(count, COLUMNS))
    size = (PAGE_WIDTH, 1.3 + 1.5 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey=True, squeeze=False)
    shades = [PALETTE[name] for name in ("sky", "blue", "purple", "vermilion")]
    colors = dict(zip(sorted(part["weight"].unique()), shades, strict=False))
    for (study, depth), axis in zip(depths.items(), axes.flat, strict=False):
        axis.axhline(0, color=PALETTE["black"], lw=0.9)
        for run, line in part[part["study"] == study].groupby("run"):
            x, color = line["weight"] * line["step"], colors.get(line["weight"].iloc[0])
            axis.plot(x, 100 * line["diff"], color=color, ls=line_style(str(run), [str(run)])["ls"], marker="o", ms=2)
        axis.set_xscale("log")
        axis.set_title(f"depth {100 * depth:.2g} %", fontsize="medium")
    for axis in axes.flat[len(depths) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("λ × training steps")
    figure.supylabel("pass@8 − GRPO's, points", fontsize="medium")
    key(figure, [plt.Line2D([], [], color=color, label=f"λ = {weight:g}") for weight, color in colors.items()])
    state(figure, _largest(part, "Largest gain in pass@8 during training"))
    return figure


def _depths(part: pd.DataFrame) -> pd.Series:
    """Each study's depth, from the deepest."""
    return part.groupby("study", sort=False)["depth"].first().sort_values()


def _largest(part: pd.DataFrame, name: str) -> str:
    if part.empty:
        return NOTHING
    best = part.loc[part["diff"].idxmax()]
    where = f"depth {100 * best['depth']:.2g} % ({run_label(best['run'])})"
    return f"{name}: {signed(100 * best['diff'])} points at {where}"
