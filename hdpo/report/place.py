"""Where a model stands before training: its cliffs, and what HDPO did on the map at such a depth."""

import numpy as np
import pandas as pd

from hdpo.claims.reported import PAPER
from hdpo.render.formats import signed
from hdpo.run.cliffs import describe, measure_cliffs
from hdpo.study.study import Study
from hdpo.system.files import write_json

MAP = PAPER / "map.csv"  # the published map, `write_map`'s table: results/reference/map/map.csv
WEIGHTS = (0.1, 1.0)  # values of λ that every base model of the map was trained with


def print_cliffs(study: Study, problems: int = 128, tries: int = 64) -> None:
    """Sample the base model on training problems, print what kinds of cliffs there are, and write cliffs.json.

    Raises:
        UserError: fewer tries than rollouts of a prompt, fewer problems than asked for, or problems without hints.
    """
    found = measure_cliffs(study, problems, tries)
    write_json(study.root / "cliffs.json", found)
    print("\n".join(describe(found)))
    if found["depth"] is not None and MAP.is_file():
        print("\n".join(place(found["depth"], pd.read_csv(MAP))))


def place(depth: float, frame: pd.DataFrame) -> list[str]:
    """What HDPO added to GRPO on the hardest problems of the map's base models next to this depth, in points.

    Args:
        depth: share of single tries that succeed on the model's cliffs.
        frame: `cliff_map_rows.map_rows` of all base models.

    Returns:
        One line on the place, and one for each λ: the widest ends of the neighbours' 95 % intervals.
    """
    hardest = frame[frame["subset"].str.startswith("size ")]
    depths = np.unique(hardest["depth"])
    below, above = depths[depths <= depth], depths[depths >= depth]
    near = sorted({*below[-1:], *above[:1]})
    lines = [f"On the map of the small world: cliffs at {depth:.2%} of single tries, {_between(near, depth)}."]
    for weight in WEIGHTS:
        part = hardest[hardest["depth"].isin(near) & (hardest["weight"] == weight)]
        ends = {metric: found for metric, found in part.groupby("metric", sort=False)}
        changes = [
            f"{metric} by {signed(100 * found['low'].min())} to {signed(100 * found['high'].max())} points"
            for metric, found in ends.items()
        ]
        if changes:
            lines.append(f"  λ = {weight:g} changed {' and '.join(changes)} on such problems, against GRPO.")
    steps = hardest["step"].max()
    return [*lines, f"  One small world and {steps} steps: a hint of what to expect, and no forecast."]


def _between(near: list[float], depth: float) -> str:
    shown = [f"{value:.2%}" for value in near]
    if len(near) == 2:
        return f"between base models at {shown[0]} and {shown[1]}"
    if near[0] == depth:
        return f"as a base model at {shown[0]}"
    return f"beyond the map, whose {'deepest' if depth < near[0] else 'shallowest'} base model is at {shown[0]}"
