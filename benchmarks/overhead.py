"""What HDPO adds to a GRPO step as the share of cliff prompts grows from none to all."""

import statistics
import sys
from functools import partial
from typing import Any

import numpy as np

from benchmarks.part import run_part, still_study
from benchmarks.side import ForcedCliffs
from benchmarks.timing import alternate, ratio
from hdpo.learning.trainer import Trainer

FRACTIONS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
GOAL_FRACTION = 0.4


def measure(quick: bool) -> dict[str, Any]:
    """Step time of HDPO over GRPO on the same rollouts and rewards, for cliff fractions from 0 to 1."""
    study = still_study()
    count, group = study.train.prompts_per_step, study.train.rollouts_per_prompt
    trainers = {"grpo": Trainer(study.run("grpo", 1)), "hdpo": Trainer(study.run("hdpo-drifting-0.1", 1))}
    for trainer in trainers.values():
        trainer.scorer = ForcedCliffs(trainer.scorer, group)
    fractions = FRACTIONS[::8] if quick else FRACTIONS
    cliffs = [round(fraction * count) for fraction in fractions]
    rounds = 2 if quick else 31
    keys = [(name, number) for number in cliffs for name in trainers]  # what is compared runs side by side
    records: dict[tuple[str, int], list[dict]] = {key: [] for key in keys}

    def take(name: str, number: int) -> None:
        trainers[name].scorer.cliffs = number
        done = records[name, number]
        done.append(trainers[name].step(len(done)))  # the same steps in every case: same prompts, same rollouts

    seconds = alternate({key: partial(take, *key) for key in keys}, rounds)
    rows = []
    for fraction, number in zip(fractions, cliffs, strict=True):
        plain, distilled = seconds["grpo", number], seconds["hdpo", number]
        found = records["hdpo", number]
        rows.append(
            {
                "fraction": fraction,
                "cliffs": number,
                "grpo_s": statistics.median(plain),
                "hdpo_s": statistics.median(distilled),
                "overhead_s": statistics.median(np.subtract(distilled, plain).tolist()),
                "demonstrations": statistics.mean(record["demonstrations"] for record in found),
            }
            | ratio(distilled, plain)
        )
    no_cliffs = statistics.median(seconds["grpo", cliffs[0]])
    return {
        "rows": rows,
        "goal": at_fraction(rows, GOAL_FRACTION),
        "fit": straight_line([row["fraction"] for row in rows], [row["overhead_s"] for row in rows], no_cliffs),
        "rounds": rounds,
    }


def at_fraction(rows: list[dict[str, Any]], fraction: float) -> dict[str, float]:
    """The ratio at a fraction between those measured, by linear interpolation of its two neighbours' medians."""
    known = [row["fraction"] for row in rows]
    return {"fraction": fraction} | {
        key: float(np.interp(fraction, known, [row[key] for row in rows])) for key in ("ratio", "low", "high")
    }


def straight_line(fractions: list[float], overheads: list[float], step: float) -> dict[str, float]:
    """Least squares, overhead = intercept + slope · fraction, in seconds; both also as shares of a `step`.

    The paper claims proportionality: R² near 1 says straight, an intercept near 0 says through the origin.
    """
    slope, intercept = np.polyfit(fractions, overheads, 1)
    r_squared = float(np.corrcoef(fractions, overheads)[0, 1] ** 2)
    return {
        "slope_s": float(slope),
        "intercept_s": float(intercept),
        "slope_of_step": float(slope / step),
        "intercept_of_step": float(intercept / step),
        "r_squared": r_squared,
    }


if __name__ == "__main__":
    sys.exit(run_part("overhead", measure))
