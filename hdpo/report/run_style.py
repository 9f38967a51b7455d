"""How a run looks in every figure: hue and line by teacher, shade and marker by λ, black for GRPO."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from hdpo.claims.results import BASELINE
from hdpo.render.runs import run_label
from hdpo.render.style import PALETTE
from hdpo.study.study import BASE_RUN

HUES = {"drifting": PALETTE["blue"], "frozen": PALETTE["vermilion"]}
LINES = {"drifting": "-", "frozen": (0, (4, 1.5))}
MARKERS = "osD^vP"


def teachers_of(runs: Sequence[str]) -> list[str]:
    """Teachers among `runs`; both if there is none, so that a figure keeps its panels."""
    return [teacher for teacher in HUES if any(_teacher(run) == teacher for run in runs)] or list(HUES)


def weights_of(runs: Sequence[str]) -> list[float]:
    """Every λ among `runs`, from the smallest."""
    return sorted({_weight(run) for run in runs if _teacher(run)})


def shown_with(teacher: str, runs: Sequence[str]) -> list[str]:
    """GRPO, then the teacher's runs by λ: what one panel holds."""
    return [BASELINE, *sorted((run for run in runs if _teacher(run) == teacher), key=_weight)]


def legend_order(runs: Sequence[str]) -> list[str]:
    """Base model and GRPO, then by λ and teacher: one legend column each; "" where there is no such run."""
    names = {(_teacher(run), _weight(run)): run for run in runs if _teacher(run)}
    pairs = [(teacher, weight) for weight in weights_of(runs) for teacher in teachers_of(runs)]
    return [BASE_RUN, BASELINE, *(names.get(pair, "") for pair in pairs)]


def color(run: str, runs: Sequence[str]) -> object:
    """Black, grey, or the teacher's hue from light (smallest λ of `runs`) to dark (largest)."""
    if not _teacher(run):
        return PALETTE["black" if run == BASELINE else "grey"]
    hue, weights = HUES[_teacher(run)], weights_of(runs)
    if len(weights) == 1:
        return hue
    light, dark = sns.blend_palette(["white", hue], 5)[2], sns.blend_palette([hue, "black"], 5)[2]
    return sns.blend_palette([light, hue, dark], 101)[round(100 * weights.index(_weight(run)) / (len(weights) - 1))]


def look(run: str, runs: Sequence[str], width: float = 1.3) -> dict:
    """Line colour, style and width, as keyword arguments of matplotlib."""
    style = LINES[_teacher(run)] if _teacher(run) else ":" if run == BASE_RUN else "-"
    return {"color": color(run, runs), "ls": style, "lw": width}


def marker(run: str, runs: Sequence[str], size: float = 5.5, hollow: bool = False) -> dict:
    """Marker shape, size and colours, as keyword arguments of matplotlib."""
    if _teacher(run):
        shape = MARKERS[weights_of(runs).index(_weight(run)) % len(MARKERS)]
    else:
        shape = "X" if run == BASELINE else "."
    edge, face = (color(run, runs), "white") if hollow else ("white", color(run, runs))
    return {"marker": shape, "ms": size, "mec": edge, "mew": 1.1 if hollow else 0.5, "mfc": face}


def draw_legend(figure: Figure, there: set[str], runs: Sequence[str]) -> None:
    """One legend below the panels for the runs that are there."""
    order, columns = legend_order(runs), 1 + len(weights_of(runs))
    if len(teachers_of(runs)) == 1:  # nothing to align
        order = [run for run in order if run in there]
        columns = max(1, len(order))
    entries = [
        plt.Line2D([], [], label=run_label(run), **look(run, runs), **marker(run, runs, size=4.5))
        if run in there
        else plt.Line2D([], [], ls="none", label=" ")
        for run in order
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize="small")


def _teacher(run: str) -> str | None:
    return run.split("-")[1] if run.startswith("hdpo-") else None


def _weight(run: str) -> float:
    return float(run.split("-", 2)[2])
