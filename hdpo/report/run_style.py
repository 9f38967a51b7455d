"""How a run looks in every figure: hue and line by family, shade and marker by level, black for GRPO.

A family holds the runs that differ in numbers and settings only, as `hdpo-drifting`; see `hdpo.render.runs`.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from hdpo.render.runs import BASE, BASELINE, family_label, parse_run, run_label
from hdpo.render.style import PALETTE

KNOWN = {"hdpo-drifting": (PALETTE["blue"], "-"), "hdpo-frozen": (PALETTE["vermilion"], (0, (4, 1.5)))}
OTHERS = [
    (PALETTE[name], line)
    for line in ("-", (0, (1, 1.2)), (0, (4, 1, 1, 1)))
    for name in ("green", "purple", "orange", "sky", "yellow")
]
MARKERS = "osD^vPh<>*p"
MOST_PANELS = 3


def families(runs: Sequence[str]) -> list[str]:
    """Families of `runs` other than base model and baseline: HDPO's teachers first, the others in order."""
    found = dict.fromkeys(parse_run(run).family for run in runs if run not in (BASE, BASELINE))
    return [*(family for family in KNOWN if family in found), *(family for family in found if family not in KNOWN)]


def panels(runs: Sequence[str]) -> dict[str, list[str]]:
    """What each panel of a figure holds, by its title: the baseline, then one family by level.

    More than three families share three panels. Without any, one panel holds the baseline alone.
    """
    found = families(runs)
    count = min(MOST_PANELS, len(found))
    shares = [found[i * len(found) // count : (i + 1) * len(found) // count] for i in range(count)]
    return {
        ", ".join(map(family_label, share)): [BASELINE, *(run for family in share for run in _members(family, runs))]
        for share in shares
    } or {run_label(BASELINE): [BASELINE]}


def paths(runs: Sequence[str]) -> list[list[str]]:
    """Each family's runs by level: what a line may join."""
    return [_members(family, runs) for family in families(runs)]


def color(run: str, runs: Sequence[str]) -> ColorType:
    """Black, grey, or the family's hue from light (lowest level of `runs`) to dark (highest)."""
    if run in (BASE, BASELINE):
        return PALETTE["black" if run == BASELINE else "grey"]
    hue, levels = _style(run, runs)[0], _levels(run, runs)
    if len(levels) == 1:
        return hue
    light, dark = sns.blend_palette(["white", hue], 5)[2], sns.blend_palette([hue, "black"], 5)[2]
    place = levels.index(parse_run(run).level)
    return sns.blend_palette([light, hue, dark], 101)[round(100 * place / (len(levels) - 1))]


def look(run: str, runs: Sequence[str], width: float = 1.3) -> dict:
    """Line colour, style and width, as keyword arguments of matplotlib."""
    line = {BASE: ":", BASELINE: "-"}.get(run) or _style(run, runs)[1]
    return {"color": color(run, runs), "ls": line, "lw": width}


def marker(run: str, runs: Sequence[str], size: float = 5.5, hollow: bool = False) -> dict:
    """Marker shape, size and colours, as keyword arguments of matplotlib."""
    if run in (BASE, BASELINE):
        shape = "X" if run == BASELINE else "."
    else:
        shape = MARKERS[_levels(run, runs).index(parse_run(run).level) % len(MARKERS)]
    edge, face = (color(run, runs), "white") if hollow else ("white", color(run, runs))
    return {"marker": shape, "ms": size, "mec": edge, "mew": 1.1 if hollow else 0.5, "mfc": face}


def draw_legend(figure: Figure, there: set[str], runs: Sequence[str]) -> None:
    """One legend below the panels for the runs that are there; two teachers of HDPO stand above each other, λ by λ."""
    found = families(runs)
    order = [BASE, BASELINE, *(run for family in found for run in _members(family, runs))]
    if found == list(KNOWN):
        names = {(parse_run(run).family, parse_run(run).level): run for run in order}
        levels = _levels(order[-1], runs)
        order = [BASE, BASELINE, *(names.get((family, level), "") for level in levels for family in found)]
        columns = 1 + len(levels)
    else:
        order = [run for run in order if run in there]
        columns = min(4, max(1, len(order)))
    blank = {"ls": "none", "label": " "}
    shown = {run: {"label": run_label(run), **look(run, runs), **marker(run, runs, size=4.5)} for run in there}
    entries = [plt.Line2D([], [], **shown.get(run, blank)) for run in order]
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize="small")


def line_style(run: str, runs: Sequence[str]) -> dict:
    """Hue and line of a run's whole family, as keyword arguments of matplotlib."""
    hue, line = _style(run, runs)
    return {"color": hue, "ls": line}


def _style(run: str, runs: Sequence[str]) -> tuple:
    family = parse_run(run).family
    others = [name for name in families([*runs, run]) if name not in KNOWN]
    return KNOWN.get(family) or OTHERS[others.index(family) % len(OTHERS)]


def _members(family: str, runs: Sequence[str]) -> list[str]:
    mine = [run for run in runs if run not in (BASE, BASELINE) and parse_run(run).family == family]
    return sorted(mine, key=lambda run: parse_run(run).level)


def _levels(run: str, runs: Sequence[str]) -> list[tuple]:
    """Every level of the run's method among `runs`, from the lowest: HDPO's teachers share their λ."""
    names = [parse_run(name) for name in [*runs, run] if name not in (BASE, BASELINE)]
    return sorted({name.level for name in names if name.method == parse_run(run).method})
