"""How a run looks in every figure: hue and line by family, shade by level, the highest level thick, black for GRPO.

A family holds the runs that differ in numbers and settings only, as `hdpo-drifting`; see `hdpo.render.runs`.
"""

from collections.abc import Sequence

import seaborn as sns
from matplotlib.typing import ColorType

from hdpo.render.runs import BASE, BASELINE, family_label, parse_run, run_label
from hdpo.render.style import PALETTE

KNOWN = {"hdpo-drifting": (PALETTE["blue"], "-"), "hdpo-frozen": (PALETTE["vermilion"], (0, (4, 1.5)))}
OTHERS = [
    (PALETTE[name], line)
    for line in ("-", (0, (1, 1.2)), (0, (4, 1, 1, 1)))
    for name in ("green", "purple", "orange", "sky", "yellow")
]
MOST_PANELS = 3
METRICS = {"greedy": ("greedy accuracy", PALETTE["vermilion"]), "pass@8": ("pass@8", PALETTE["blue"])}  # side by side


def families(runs: Sequence[str]) -> list[str]:
    """Families of `runs` other than base model and baseline: HDPO's teachers first, the others in order."""
    found = dict.fromkeys(parse_run(run).family for run in runs if run not in (BASE, BASELINE))
    return [*(family for family in KNOWN if family in found), *(family for family in found if family not in KNOWN)]


def panels(runs: Sequence[str]) -> dict[str, list[str]]:
    """What each panel of a figure holds beside the baseline, by its title: one family by level.

    More than three families share three panels. Without any, one panel holds the baseline.
    """
    found = families(runs)
    count = min(MOST_PANELS, len(found))
    shares = [found[i * len(found) // count : (i + 1) * len(found) // count] for i in range(count)]
    return {
        ", ".join(map(family_label, share)): [run for family in share for run in _members(family, runs)]
        for share in shares
    } or {run_label(BASELINE): [BASELINE]}


def paths(runs: Sequence[str]) -> list[list[str]]:
    """Each family's runs by level: what a line may join."""
    return [_members(family, runs) for family in families(runs)]


def short_labels(runs: Sequence[str]) -> dict[str, str]:
    """What names each run of one panel: its numbers and settings where the family is the same."""
    one = len(families(runs)) == 1
    return {run: (level_label(run) if one else "") or run_label(run) for run in runs}


def level_label(run: str) -> str:
    """`λ = 0.1` of HDPO, other methods' numbers and settings as they are; nothing where there are none."""
    return run_label(run).partition(", ")[2]


def is_highest(run: str, runs: Sequence[str]) -> bool:
    """Whether no run of the same method has a higher level."""
    return run in (BASE, BASELINE) or parse_run(run).level == _levels(run, runs)[-1]


def color(run: str, runs: Sequence[str]) -> ColorType:
    """Black, grey, or the family's hue from light (lowest level of `runs`) to dark (highest)."""
    if run in (BASE, BASELINE):
        return PALETTE["black" if run == BASELINE else "grey"]
    hue, levels = line_style(run, runs)["color"], _levels(run, runs)
    if len(levels) == 1:
        return hue
    light, dark = sns.blend_palette(["white", hue], 5)[2], sns.blend_palette([hue, "black"], 5)[2]
    place = levels.index(parse_run(run).level)
    return sns.blend_palette([light, hue, dark], 101)[round(100 * place / (len(levels) - 1))]


def look(run: str, runs: Sequence[str]) -> dict:
    """Line colour, style and width, as keyword arguments of matplotlib."""
    line = {BASE: ":", BASELINE: "-"}.get(run) or line_style(run, runs)["ls"]
    return {"color": color(run, runs), "ls": line, "lw": 2.0 if is_highest(run, runs) else 1.2}


def line_style(run: str, runs: Sequence[str]) -> dict:
    """Hue and line of a run's whole family, as keyword arguments of matplotlib."""
    family = parse_run(run).family
    others = [name for name in families([*runs, run]) if name not in KNOWN]
    hue, line = KNOWN.get(family) or OTHERS[others.index(family) % len(OTHERS)]
    return {"color": hue, "ls": line}


def _members(family: str, runs: Sequence[str]) -> list[str]:
    mine = [run for run in runs if run not in (BASE, BASELINE) and parse_run(run).family == family]
    return sorted(mine, key=lambda run: parse_run(run).level)


def _levels(run: str, runs: Sequence[str]) -> list[tuple]:
    """Every level of the run's method among `runs`, from the lowest: HDPO's teachers share their λ."""
    names = [parse_run(name) for name in [*runs, run] if name not in (BASE, BASELINE)]
    return sorted({name.level for name in names if name.method == parse_run(run).method})
