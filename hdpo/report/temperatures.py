"""Knowledge or entropy: each run beside GRPO sampled at the temperature that gives it the run's own entropy."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.claims.reader import Counted
from hdpo.claims.results import BASELINE, Contrast, Results, compare, unbiased_metrics
from hdpo.render.formats import metric_label, number, points
from hdpo.render.runs import run_label
from hdpo.render.table import make_table, write_table
from hdpo.report.captions import caption
from hdpo.study.study import Study
from hdpo.system.errors import UserError

COLUMNS = ["run", "metric", "seeds", "entropy", "temperature", "plain", "diff", "low", "high", "df"]


def write_temperatures(study: Study) -> Path:
    """Write temperatures.csv, .md, .tex and .json.

    Raises:
        UserError: the study tests at one temperature only, or a result is damaged or belongs elsewhere.
    """
    if not study.evaluate.temperatures:
        raise UserError(f"study {study.name}: evaluate.temperatures lists no temperature beside the training's")
    frame = matched_frame(Results(study))
    cells = list(map(points, frame["diff"], frame["low"], frame["high"], frame["df"]))
    shown = pd.DataFrame({"method": frame["run"].map(run_label), "metric": frame["metric"].map(metric_label)})
    shown["entropy"] = [number(value, ".2f") for value in frame["entropy"]]
    shown["GRPO's temperature"] = [number(value, ".2f") for value in frame["temperature"]]
    shown["at the same temperature"], shown["at the same entropy"] = list(map(points, frame["plain"])), cells
    table = make_table("temperatures", shown, caption("temperatures"), words=("method", "metric"))
    write_table(study.root / "temperatures", frame, table)
    return study.root / "temperatures.md"


def matched_frame(results: Results) -> pd.DataFrame:
    """One row per run × sampled metric: the difference to GRPO at the run's entropy, over seeds where that is reached.

    GRPO's scores at an entropy lie on the line between its two nearest temperatures, problem by problem. `temperature`
    is the mean of those that match, `plain` the difference at the training's temperature on the same seeds.
    """
    study, rows = results.study, []
    heats = sorted({study.train.temperature, *study.evaluate.temperatures})
    grpo = {seed: _heated(results, BASELINE, seed, heats) for seed in results.seeds(BASELINE)}
    for run in (run for run in results.runs if run != BASELINE):
        matches = {}
        for seed in results.seeds(run):
            own, curve = results.final.get((run, seed)), grpo.get(seed)
            if own is not None and curve is not None:
                entropy = float(own.details["entropy"].mean())
                place = _between(entropy, [float(found.details["entropy"].mean()) for found in curve])
                if place is not None:
                    matches[seed] = own, curve, entropy, *place
        for metric in (metric for metric in unbiased_metrics(study) if metric != "greedy" and matches):
            values, plain = [], []
            for own, curve, _, low, share in matches.values():
                at = (1 - share) * curve[low].score(metric) + share * curve[low + 1].score(metric)
                values.append(own.score(metric) - at)
                plain.append(own.score(metric) - curve[heats.index(study.train.temperature)].score(metric))
            (found,) = compare([Contrast(np.stack(values), tuple(matches))])
            warm = [heats[low] + share * (heats[low + 1] - heats[low]) for *_, low, share in matches.values()]
            row = {"run": run, "metric": metric, "seeds": len(matches), "temperature": np.mean(warm)}
            row |= {"entropy": np.mean([match[2] for match in matches.values()]), "plain": np.mean(plain)}
            if found:
                row |= {"diff": found.value, "low": found.low, "high": found.high, "df": found.df}
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _heated(results: Results, run: str, seed: int, heats: list[float]) -> list[Counted] | None:
    """Outcomes at each temperature in turn; None where the run is not tested."""
    usual = results.study.train.temperature
    found = [
        results.final.get((run, seed)) if heat == usual else results.reader.heated(run, seed, heat) for heat in heats
    ]
    there = [outcomes for outcomes in found if outcomes is not None]
    return there if len(there) == len(heats) else None


def _between(value: float, ends: list[float]) -> tuple[int, float] | None:
    """The interval of growing `ends` that holds a value, and how far into it; None beyond the ends."""
    for low, (first, second) in enumerate(pairwise(ends)):
        if first <= value <= second and second > first:
            return low, (value - first) / (second - first)
    return None
