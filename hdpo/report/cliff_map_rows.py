"""The cells of the map: paired differences to GRPO by base model, λ and step, and the depth of each base model."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from hdpo.claims.results import BASELINE, Comparison, Contrast, Results, compare
from hdpo.render.runs import parse_run
from hdpo.stats.power import holm
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError

METRICS = ("pass@8", "greedy")
COLUMNS = ["study", "way", "depth", "tries", "run", "weight", "step", "subset", "metric", "seeds"]
ENDS = ["diff", "low", "high", "df"]


def map_rows(results: Results) -> pd.DataFrame:
    """Paired differences to GRPO in shares: one row per run × metric × subset, and per step of training.

    `depth` is the share of single tries that the base model solves on the hardest size, of `tries`; `step` is the last
    for the test problems (subsets `all` and the hardest size), and each evaluation's for the validation problems.
    """
    study = results.study
    depth, tries, hardest = depth_of(results)
    shared = {"study": study.name, "way": way_of(study), "depth": depth, "tries": tries}
    rows = []
    for run in (run for run in results.runs if run != BASELINE):
        own = shared | {"run": run, "weight": parse_run(run).values[-1] if parse_run(run).values else np.nan}
        for metric in METRICS:
            for subset in ("all", hardest):
                (found,) = results.differences("test", metric, [run], None if subset == "all" else subset)
                rows += _row(own | {"step": study.train.steps, "subset": subset, "metric": metric}, found)
            for step, found in _in_training(results, run, metric):
                rows += _row(own | {"step": step, "subset": "validation", "metric": metric}, found)
    return pd.DataFrame(rows, columns=[*COLUMNS, *ENDS, "p"]).astype({"p": float})


def with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with `p_holm`, corrected over all cells and metrics: once on all problems, once on the hardest size."""
    test = frame[frame["subset"] != "validation"]
    found = test.groupby(test["subset"] == "all")["p"].transform(lambda p: holm(p.to_numpy()))
    return frame.assign(p_holm=found)


def _row(row: dict[str, object], found: Comparison | None) -> list[dict[str, object]]:
    return [] if found is None else [row | found.row]


def _in_training(results: Results, run: str, metric: str) -> Iterator[tuple[int, Comparison | None]]:
    """The difference to GRPO on the validation problems at each evaluation, over the seeds that both have."""
    pairs = [
        (results.training[run, seed]["validation"], results.training[BASELINE, seed]["validation"], seed)
        for seed in results.seeds(run)
        if {(run, seed), (BASELINE, seed)} <= set(results.training)
    ]
    for place, step in enumerate(pairs[0][0].steps.tolist() if pairs else ()):
        scores = [(own.outcomes.score(metric)[place], base.outcomes.score(metric)[place]) for own, base, _ in pairs]
        values = np.stack([own - base for own, base in scores])
        yield step, compare([Contrast(values, tuple(seed for *_, seed in pairs))])[0]


def depth_of(results: Results) -> tuple[float, int, str]:
    """The base model's pass rate on the hardest size of the test problems, the tries behind it, and that subset's name.

    Raises:
        UserError: the base model is not evaluated.
    """
    base = results.final.get((BASE_RUN, 0))
    if base is None:
        raise UserError(
            f"study {results.study.name}: its base model is not evaluated; `hdpo evaluate STUDY --run base`"
        )
    hardest = base.difficulty == base.difficulty.max()
    tries = int(base.tries[hardest].sum())
    return float(base.hits[hardest].sum() / tries), tries, f"size {base.difficulty.max()}"


def way_of(study: Study) -> str:
    """How the base model came to its depth: it seldom saw the class, or saw it with other problems' solutions."""
    return "seldom seen" if study.pretrain is None or not study.pretrain.astray else "seen with other solutions"
