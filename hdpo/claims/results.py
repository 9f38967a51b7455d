"""From outcomes to numbers: scores by protocol, and contrasts of runs with their intervals.

Protocols say which weights are scored on which problems:

    test      the final weights on the test problems: the headline, and all that verdicts read
    last      the final weights on the validation problems
    best      per metric and seed, the best evaluation during training on those same problems: as the paper reports,
              and optimistic, because the maximum of noisy numbers is above their common mean
    selected  per metric and seed, the evaluation that is best on the development problems

The base model is no candidate for `best` and `selected`; the earliest evaluation wins a tie. The base model is scored
by `test` alone. The paper's "pass@1" is greedy accuracy, so `greedy` is what compares with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hdpo.claims.codes import codes_line
from hdpo.claims.reader import Reader, extra_seeds
from hdpo.render.runs import BASELINE
from hdpo.stats.paired import Estimates, estimate
from hdpo.stats.power import two_sided_p
from hdpo.study.study import BASE_RUN, Study

RARELY = 1 / 16  # the share of the base model's tries up to which it solves a problem rarely
PROTOCOLS = {"test": "test", "last": "validation", "best": "validation", "selected": "validation"}


def unbiased_metrics(study: Study) -> list[str]:
    """`greedy`, and unbiased `pass@k` for the study's k."""
    return ["greedy", *(f"pass@{k}" for k in study.evaluate.ks)]


def metric_names(study: Study) -> list[str]:
    """All metrics: the unbiased ones, and `any@k`, the paper's estimator, where it differs."""
    return [*unbiased_metrics(study), *(f"any@{k}" for k in study.evaluate.ks if k > 1)]


@dataclass(frozen=True)
class Contrast:
    """A linear contrast of runs, per seed and problem, [S, Q], over the seeds that all of its runs have."""

    values: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """A contrast's mean with its uncertainty, in shares (0.01 is one point).

    One trained seed has no interval (nan): how much another seed would differ is then unknown, and an interval
    over problems alone would look like knowledge of it.
    """

    value: float
    se: float
    df: float  # degrees of freedom of the standard error and of both intervals
    low: float  # of the 95 % interval
    high: float
    low90: float  # of the 90 % interval, for equivalence
    high90: float
    detectable: float  # minimum detectable effect, 80 % power at two-sided 5 %
    per_seed: tuple[float, ...]
    seeds: tuple[int, ...]
    problems: int

    @property
    def p(self) -> float:
        """Two-sided p-value of the difference from 0 by Student's t; nan for a single seed."""
        return two_sided_p(self.value, self.se, self.df)

    @property
    def row(self) -> dict[str, float]:
        """What tables of differences hold: seeds, diff, low, high, df and p."""
        ends = {"diff": self.value, "low": self.low, "high": self.high, "df": self.df}
        return {"seeds": len(self.seeds)} | ends | {"p": self.p}


class Results:
    """A study's finished runs. What is missing is absent from every answer, never filled in.

    Runs made by hand outside the study's list are there too, after the planned ones. More seeds of a planned run are
    not: its means stay those of the study's seeds.
    """

    def __init__(self, study: Study) -> None:
        """Read everything there is.

        Raises:
            UserError: a file is damaged or belongs elsewhere (see `hdpo.claims.reader`).
        """
        self.study, self.reader = study, Reader(study)
        self.extra = extra_seeds(study)
        self.runs = [*study.runs, *(run for run in self.extra if run not in study.runs)]
        wanted = [(run, seed) for run in self.runs for seed in self.seeds(run)]
        final = {key: self.reader.final(*key) for key in [(BASE_RUN, 0), *wanted]}
        training = {key: self.reader.training(*key) for key in wanted}
        self.final = {key: outcomes for key, outcomes in final.items() if outcomes is not None}
        self.training = {key: curves for key, curves in training.items() if curves is not None}
        self._scores: dict[tuple[str, str], dict[str, dict[int, np.ndarray]]] = {}
        self.codes = codes_line(study, final)  # "" if the present code made everything

    def seeds(self, run: str) -> tuple[int, ...]:
        """The planned seeds of a planned run, the seeds found of an extra one."""
        return self.study.seeds if run in self.study.runs else self.extra[run]

    def scores(self, protocol: str, metric: str) -> dict[str, dict[int, np.ndarray]]:
        """Scores [Q] by run and seed, for the runs and seeds that are there. Computed once: leave them as they are."""
        if (protocol, metric) not in self._scores:
            self._scores[protocol, metric] = self._score(protocol, metric)
        return self._scores[protocol, metric]

    def _score(self, protocol: str, metric: str) -> dict[str, dict[int, np.ndarray]]:
        scores: dict[str, dict[int, np.ndarray]] = {}
        if protocol == "test":
            for (run, seed), outcomes in self.final.items():
                scores.setdefault(run, {})[seed] = outcomes.score(metric)
            return scores
        deciding = "development" if protocol == "selected" else "validation"
        for (run, seed), curves in self.training.items():
            chosen = -1 if protocol == "last" else int(np.argmax(curves[deciding].means(metric)))
            scores.setdefault(run, {})[seed] = curves["validation"].outcomes.score(metric)[chosen]
        return scores

    def contrasts(
        self, protocol: str, metric: str, weights: Sequence[Mapping[str, float] | None], subset: str | None = None
    ) -> list[Contrast | None]:
        """Contrasts Σ weight · run; None where a run is missing, or no seed is shared by all.

        The base model has no seeds: within a contrast it is the same for each. `subset`: of the test problems.
        """
        chosen = slice(None) if subset is None else self.subset(subset)
        if chosen is None:
            return [None] * len(weights)
        scores = {
            run: {seed: score[chosen] for seed, score in seeds.items()}
            for run, seeds in self.scores(protocol, metric).items()
        }
        return [None if parts is None else _contrast(scores, parts) for parts in weights]

    def subset(self, name: str) -> np.ndarray | None:
        """Test problems, [Q] of bool: of one size (`size 5`), or by the base model's successful tries (`base rarely`).

        None where the base model is not evaluated, or where fewer than two problems are of that kind.
        """
        base = self.final.get((BASE_RUN, 0))
        if base is None:
            return None
        kind, which = name.split()
        rate = base.hits / base.tries
        classes = {"never": rate == 0, "rarely": (rate > 0) & (rate <= RARELY), "often": rate > RARELY}
        mask: np.ndarray = base.difficulty == int(which) if kind == "size" else classes[which]
        return mask if mask.sum() > 1 else None

    def beside_baseline(self, protocol: str, metric: str) -> dict[str, tuple[Comparison | None, Comparison | None]]:
        """Each run's mean, and its difference to GRPO on the same seeds and problems."""
        runs = [BASE_RUN, *self.runs] if protocol == "test" else self.runs
        means = compare(self.contrasts(protocol, metric, [{run: 1.0} for run in runs]))
        differences = self.differences(protocol, metric, runs)
        return dict(zip(runs, zip(means, differences, strict=True), strict=True))

    def differences(
        self, protocol: str, metric: str, runs: Sequence[str], subset: str | None = None
    ) -> "list[Comparison | None]":
        """Each run's paired difference to GRPO; None for GRPO itself, and where `contrasts` has none."""
        weights = [None if run == BASELINE else {run: 1.0, BASELINE: -1.0} for run in runs]
        return compare(self.contrasts(protocol, metric, weights, subset))


def _contrast(scores: dict[str, dict[int, np.ndarray]], parts: Mapping[str, float]) -> Contrast | None:
    if not set(parts) <= set(scores):
        return None
    trained = [set(scores[run]) for run in parts if run != BASE_RUN]
    seeds = sorted(set.intersection(*trained)) if trained else [0]
    rows = [sum(w * scores[run][0 if run == BASE_RUN else seed] for run, w in parts.items()) for seed in seeds]
    return Contrast(np.stack(rows), tuple(seeds)) if seeds else None


def compare(contrasts: Sequence[Contrast | None]) -> list[Comparison | None]:
    """Mean and intervals of each contrast that is there."""
    return [None if contrast is None else _comparison(contrast) for contrast in contrasts]


def _comparison(contrast: Contrast) -> Comparison:
    known = len(contrast.seeds) > 1 or contrast.seeds == (0,)
    per_seed, problems = tuple(contrast.values.mean(axis=1).tolist()), contrast.values.shape[1]
    return with_intervals(estimate(contrast.values[None]), known, per_seed, contrast.seeds, problems)


def with_intervals(
    found: Estimates, known: bool, per_seed: tuple[float, ...], seeds: tuple[int, ...], problems: int
) -> Comparison:
    """The comparison of one estimate; its error and intervals are nan unless they are `known`."""
    errors = [found.se, found.df, *found.interval(0.95), *found.interval(0.90), found.detectable()]
    se, df, low, high, low90, high90, mde = (float(error[0]) if known else np.nan for error in errors)
    return Comparison(float(found.estimate[0]), se, df, low, high, low90, high90, mde, per_seed, seeds, problems)
