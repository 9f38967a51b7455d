"""The page to try it: the toy's cliff under sliders, and what was measured beside it, in one HTML file.

The script templates/climb.js repeats the formulas of `hdpo.theory.cliff` and `hdpo.theory.escape`; tests compare the
two. Measured numbers are those of `hdpo.report.gains.arm_frame`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hdpo.claims.results import BASELINE, Results
from hdpo.render.formats import thousands
from hdpo.render.runs import family_label, parse_run
from hdpo.render.table import Table, write_text
from hdpo.report.environment import environment, inline
from hdpo.report.gains import ENDS, arm_frame
from hdpo.report.statistics_tables import statistics_table
from hdpo.study.study import BASE_RUN
from hdpo.theory.escape import WEIGHTS, Climb

TOKENS = 8  # of the toy's answer, before a reader moves anything
SUCCESS = 1e-4  # its chance per try, where no study's base model is measured
DIGITS = 6  # of a share, as in gains_arms.csv


def write_playground(results: Mapping[str, Results], out: Path) -> Path:
    """Write `out`; `results` by regime, as in `hdpo.report.finding`.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    css, js = inline("page.css", "playground.css"), inline("climb.js", "playground.js")
    data, page = playground_data(results), environment(thousands=thousands).get_template("playground.html")
    tables = [measured_table(place, regime) for place, regime in enumerate(data["regimes"])]
    write_text(out, page.render(data=data, tables=tables, css=css, js=js))
    return out


def playground_data(results: Mapping[str, Results]) -> dict[str, Any]:
    """What the page's script reads: the toy, where its sliders start, and each regime's measured points."""
    regimes = [measured(name, found) for name, found in results.items()]
    climb = asdict(Climb(TOKENS, WEIGHTS["hdpo"]))
    start = {name: climb[name] for name in ("tokens", "weight", "group_size")}
    start["success"] = min((regime["success"] for regime in regimes if regime["success"]), default=SUCCESS)
    return {"climb": climb, "start": start, "regimes": regimes}


def measured(name: str, results: Results) -> dict[str, Any]:
    """One regime's points: of the problems that the base model never solves, the share that each run solves.

    A point has its run, teacher ("" for GRPO), λ (0 for GRPO), seeds, value and 95 % interval (None where unknown).
    `longest` counts the base model's tries on the longest problems. `success` is their rate, or the rate of a single
    success where there is none.
    """
    arms, base = arm_frame(results).dropna(subset=["value"]), results.final.get((BASE_RUN, 0))
    points = [
        {"run": arm.run, "seeds": arm.seeds} | place | {end: _number(getattr(arm, end)) for end in ENDS}
        for arm in arms.itertuples()
        if (place := _place(arm.run))
    ]
    longest = None
    if base is not None:
        chosen = base.difficulty == base.difficulty.max()
        longest = {count: int(getattr(base, count)[chosen].sum()) for count in ("hits", "tries")}
    return {
        "name": name,
        "problems": int(arms["hard"].max()) if points else 0,
        "tries": int(arms["tries"].max()) if points else 0,
        "planned": len(results.study.seeds),
        "points": sorted(points, key=lambda point: (point["teacher"], point["weight"])),
        "longest": longest,
        "success": max(longest["hits"], 1) / longest["tries"] if longest else None,
    }


def measured_table(place: int, regime: dict[str, Any]) -> Table:
    """A regime's points in words; `place` tells the tables of a page apart."""
    words = {"problems": thousands(regime["problems"]), "tries": regime["tries"], "planned": regime["planned"]}
    table = statistics_table("playground", pd.DataFrame(regime["points"], columns=["run", "seeds", *ENDS]), **words)
    return replace(table, id=f"{table.id}-{place}")


def _place(run: str) -> dict[str, Any] | None:
    """Where a run stands on the page: its teacher and λ; None for what is neither GRPO nor HDPO at one λ."""
    name = parse_run(run)
    if run == BASELINE:
        return {"teacher": "", "weight": 0.0}
    if name.method != "hdpo" or len(name.values) != 1 or name.settings:
        return None
    return {"teacher": family_label(name.family), "weight": name.values[0]}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)
