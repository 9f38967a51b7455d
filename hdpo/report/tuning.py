"""The tuning of every method's main parameter on development seeds, by one rule, and how much it matters."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdpo.claims.results import BASELINE, Results
from hdpo.render.formats import points, signed
from hdpo.render.labels import NOTHING, name_ends, state
from hdpo.render.runs import parse_run, run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, save_figure, use_style
from hdpo.render.table import make_table, write_table
from hdpo.report.captions import caption
from hdpo.report.comparison_figure import color_key, color_of
from hdpo.study.study import Study

METRICS = ("greedy", "pass@8")


def write_tuning(study: Study) -> Path:
    """Write tuning.csv, .md, .tex and .json, and figures/tuning as PNG and PDF, from the validation problems.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    frame = tuning_frame(Results(study))
    shown = frame.assign(
        method=frame["run"].map(run_label),
        chosen=np.where(
            frame["chosen"] & frame["edge"], "yes, at the edge", frame["chosen"].map({True: "yes", False: ""})
        ),
        **{metric: frame[metric].map(points) for metric in (*METRICS, "mean")},
    )
    table = make_table("tuning", shown[["method", "seeds", *METRICS, "mean", "chosen"]], caption("tuning"))
    write_table(study.root / "tuning", frame, table)
    save_figure(tuning_figure(frame), study.root / "figures" / "tuning")
    return study.root / "tuning.md"


def tuning_frame(results: Results) -> pd.DataFrame:
    """Differences to GRPO of the last weights in shares, one row per run, and which value of each method is chosen.

    The rule: the highest mean of the differences in greedy accuracy and pass@8; a tie goes to the value listed first.
    `edge` marks the first and the last value of a method's grid: beyond them nothing was tried.
    """
    runs = [run for run in results.runs if run != BASELINE]
    found = {metric: results.differences("last", metric, runs) for metric in METRICS}
    rows = []
    for place, run in enumerate(runs):
        parts = [part for metric in METRICS if (part := found[metric][place])]
        if len(parts) == len(METRICS):
            values = {metric: part.value for metric, part in zip(METRICS, parts, strict=True)}
            rows.append({"run": run, "family": parse_run(run).family, "seeds": len(parts[0].seeds)} | values)
    frame = pd.DataFrame(rows, columns=["run", "family", "seeds", *METRICS])
    frame["mean"] = frame[list(METRICS)].mean(axis=1)
    best = frame.groupby("family")["mean"].idxmax() if len(frame) else []
    ends = frame.groupby("family")["run"].agg(["first", "last"]).to_numpy().ravel() if len(frame) else []
    return frame.assign(chosen=frame.index.isin(best), edge=frame["run"].isin(ends))


def tuning_figure(frame: pd.DataFrame) -> Figure:
    """Fronts of coverage against accuracy: a line per method over its parameter, the chosen value filled and named."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 4.2))
    for line in (axis.axhline, axis.axvline):
        line(0, color=PALETTE["black"], lw=0.9)
    names = []
    for _, part in frame.groupby("family", sort=False):
        color = color_of(part["run"].iloc[0])
        axis.plot(100 * part["greedy"], 100 * part["pass@8"], color=color, lw=1.0, marker="o", mfc="white", ms=4)
        chosen = part[part["chosen"]].iloc[0]
        axis.plot(100 * chosen["greedy"], 100 * chosen["pass@8"], "o", color=color, ms=5)
        names.append((run_label(chosen["run"]), 100 * chosen["pass@8"], color))
    axis.set_xlabel("greedy accuracy − GRPO's, points")
    axis.set_ylabel("pass@8 − GRPO's, points")
    color_key(figure)
    state(figure, _message(frame))
    name_ends({axis: names})
    return figure


def _message(frame: pd.DataFrame) -> str:
    """Which method gains most at its chosen value, and to which one its parameter matters most."""
    if frame.empty:
        return NOTHING
    best = frame.loc[frame["mean"].idxmax()]
    spread = frame.groupby("family")["mean"].agg(np.ptp)
    return (
        f"Development seeds: {run_label(best['run'])} gains most ({signed(100 * best['mean'])} points, mean of both);"
        f" the parameter of {spread.idxmax()} matters most ({100 * spread.max():.1f} points)"
    )
