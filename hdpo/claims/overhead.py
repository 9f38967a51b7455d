"""What distillation costs: the overhead of a training step against its number of cliff prompts."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from hdpo.claims.reader import Reader
from hdpo.study.study import Study

LEAST_STEPS = 20
FORWARD_PASSES = {"demonstration": 4, "rollout": 3}  # per token; a backward pass counts as two


@dataclass(frozen=True)
class LineFit:
    """Least squares, overhead = intercept + slope · cliffs; slope None where the data cannot tell."""

    slope: float | None
    intercept: float
    r_squared: float
    mean: float  # of the overhead
    steps: int


def overhead_steps(study: Study, reader: Reader) -> pd.DataFrame:
    """One row per training step of every run that draws privileged rollouts.

    Columns: step, run, seed, cliffs (capped), seconds and tokens of overhead. Seconds are those of the privileged
    rollouts plus the update's, in the share of its network passes that demonstrations take: teacher forward, student
    forward and backward for each of their tokens, forward and backward for each rollout token with a policy gradient.
    Tokens are those drawn under the privileged prompt plus those distilled.
    """
    frames = [pd.DataFrame()]
    for method, seed in product(study.methods, study.seeds):
        run, (most, _) = method.run_name, method.privileged_draw
        metrics = reader.metrics(run, seed) if most else None
        if metrics is not None:
            distilled = FORWARD_PASSES["demonstration"] * metrics["tokens.distill"]
            passes = distilled + FORWARD_PASSES["rollout"] * metrics["tokens.trained"]
            share = (distilled / passes.where(passes > 0)).fillna(0.0)
            frame = metrics[["step"]].assign(run=run, seed=seed, cliffs=metrics["cliffs"].clip(upper=most))
            frame["seconds"] = metrics["seconds.privileged"] + share * metrics["seconds.update"]
            frame["tokens"] = metrics["tokens.privileged"] + metrics["tokens.distill"]
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def fit_overhead(steps: pd.DataFrame, unit: str) -> LineFit | None:
    """Line through the steps of `overhead_steps`, None without any."""
    if steps.empty:
        return None
    cliffs, overhead = steps["cliffs"].to_numpy(float), steps[unit].to_numpy(float)
    mean = float(overhead.mean())
    if len(steps) < LEAST_STEPS or cliffs.std() == 0 or overhead.std() == 0:
        return LineFit(None, np.nan, np.nan, mean, len(steps))
    slope, intercept = np.polyfit(cliffs, overhead, 1).tolist()
    return LineFit(slope, intercept, float(np.corrcoef(cliffs, overhead)[0, 1] ** 2), mean, len(steps))
