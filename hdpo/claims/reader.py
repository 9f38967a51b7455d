"""Reading what training and evaluation wrote, and which code wrote it; refusing what does not belong to the study.

A missing file is no error: `Reader` returns None for it, and tables say *not run*. A file that is there but belongs to
another configuration, other problems or another number of samples is one, because its numbers would mix in silently.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from hdpo.claims.sources import source_of
from hdpo.run.outcomes import DETAILS, problems_of, test_split
from hdpo.stats.passk import any_of_k, pass_at_k
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.tasks import TRAINING_SPLITS, problem_set_hash


@dataclass(frozen=True)
class Outcomes:
    """Right or wrong, per problem: `greedy` [..., Q] and `samples` in draw order [..., Q, n], 0 or 1."""

    greedy: np.ndarray
    samples: np.ndarray

    def score(self, metric: str) -> np.ndarray:
        """Scores [..., Q] by `greedy`, `pass@<k>` (unbiased, from all n samples) or `any@<k>` (the first k draws).

        Raises:
            UserError: k exceeds the samples drawn.
        """
        if metric == "greedy":
            return self.greedy.astype(np.float64)
        kind, k = metric.split("@")
        if kind == "any":
            return any_of_k(self.samples, int(k))
        return pass_at_k(self.samples.sum(axis=-1, dtype=np.int64), self.samples.shape[-1], int(k))


@dataclass(frozen=True)
class Counted(Outcomes):
    """Outcomes of one evaluation, [Q], with the counts of all its samples: also of those beyond n."""

    difficulty: np.ndarray
    tries: np.ndarray
    hits: np.ndarray
    details: dict[str, np.ndarray]  # what else is known of the samples (`hdpo.run.outcomes.DETAILS`), [Q] each

    def score(self, metric: str) -> np.ndarray:
        """As above; `conversion` says whether any try succeeds, also beyond n."""
        return (self.hits > 0).astype(np.float64) if metric == "conversion" else super().score(metric)


@dataclass(frozen=True)
class Curve:
    """Evaluations of one split during training: E steps, outcomes with a leading E."""

    steps: np.ndarray  # [E]
    outcomes: Outcomes

    def means(self, metric: str) -> np.ndarray:
        """Mean score over problems at each evaluation, [E]."""
        return self.outcomes.score(metric).mean(axis=-1)


class Reader:
    """Reads a study's results; every method returns None where the run was not run.

    Raises, from every method:
        UserError: a file is unreadable, or of another run, configuration, problem set or number of samples.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.source = study, source_of(study)

    def final(self, run: str, seed: int) -> Counted | None:
        """Outcomes of a run's final weights, or of the base model's, on the test problems: [Q], [Q, n]."""
        found = self._evaluated("test", run, seed, {"test": self.study.evaluate.test_samples})
        return found["test"] if found else None

    def heated(self, run: str, seed: int, temperature: float) -> Counted | None:
        """As `final`, at one of `evaluate.temperatures`."""
        split = test_split(temperature)
        found = self._evaluated("test", run, seed, {split: self.study.evaluate.test_samples})
        return found[split] if found else None

    def start(self) -> dict[str, Counted] | None:
        """Outcomes of the base model, which is step 0 of every run, by split (`TRAINING_SPLITS`)."""
        return self._evaluated("test", BASE_RUN, 0, dict.fromkeys(TRAINING_SPLITS, self.study.evaluate.samples))

    def training(self, run: str, seed: int) -> dict[str, Curve] | None:
        """Evaluations during training, after step 0, by split (`TRAINING_SPLITS`)."""
        samples = dict.fromkeys(TRAINING_SPLITS, self.study.evaluate.samples)
        found = self._table("training", run, seed, samples)
        if found is None:
            return None
        (path, table), total, every = found, self.study.train.steps, self.study.evaluate.every
        steps = sorted({*range(every, total, every), total})
        curves = {}
        for split, n in samples.items():
            part = table.filter(pc.equal(table["split"], split))
            at = pc.unique(part["step"]).to_pylist()
            if sorted(at) != steps:
                raise UserError(f"{path}: {split} must be evaluated every {every} of {total} steps, is at {at[:9]}")
            ids = self.problems[split][0]
            each = [_outcomes(path, part.filter(pc.equal(part["step"], step)), ids, n) for step in steps]
            stacked = Outcomes(np.stack([e.greedy for e in each]), np.stack([e.samples for e in each]))
            curves[split] = Curve(np.array(steps), stacked)
        return curves

    def record(self, run: str, seed: int) -> dict[str, Any] | None:
        """A training run's record."""
        found = self.source.record("training", run, seed)
        if found is None:
            return None
        path, record = found
        _same(path, "configuration hash", record.get("run_hash"), self.study.run(run, seed).hash)
        _same(path, "seed", record.get("seed"), seed)
        return record

    def metrics(self, run: str, seed: int) -> pd.DataFrame | None:
        """One row per training step; nested keys become columns such as `tokens.rollout`."""
        self.record(run, seed)
        found = self.source.metrics(run, seed)
        if found is None:
            return None
        path, frame = found
        try:
            return frame.astype({"step": int, "cliffs": int, "cliff_fraction": float, "privileged_pass_rate": float})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: not one JSON object of training metrics per line; train again") from error

    @cached_property
    def problems(self) -> dict[str, tuple[list[str], str]]:
        """By split: problem ids in order, and the hash of the problem set."""
        task = self.study.task.load(self.study)
        sets = {split: task.problems(split) for split in (*TRAINING_SPLITS, "test")}
        return {split: ([problem.id for problem in found], problem_set_hash(found)) for split, found in sets.items()}

    def _evaluated(self, kind: str, run: str, seed: int, samples: dict[str, int]) -> dict[str, Counted] | None:
        found = self._table(kind, run, seed, samples)
        if found is None:
            return None
        path, table = found
        parts = {split: table.filter(pc.equal(table["split"], split)) for split in samples}
        ids = {split: self.problems[problems_of(split)][0] for split in samples}
        return {split: _outcomes(path, parts[split], ids[split], n) for split, n in samples.items()}

    def _table(self, kind: str, run: str, seed: int, samples: dict[str, int]) -> tuple[Path, pa.Table] | None:
        """Outcomes, once what they state says that they belong here; `samples` of a problem by split."""
        found = self.source.outcomes(kind, run, seed)
        if found is None:
            return None
        path, table, stated = found
        try:
            who, run_hash = f"{stated['run']} seed {stated['seed']}", stated["run_hash"]
            problems, drawn = dict(stated["problems"]), dict(stated["samples"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: does not say which run and problems it holds") from error
        _same(path, "run", who, f"{run} seed {seed}")
        expected = self.study.base_hash if run == BASE_RUN else self.study.run(run, seed).hash
        _same(path, "configuration hash", run_hash, expected)
        for split, n in samples.items():
            _same(path, f"{split} problem set", problems.get(split), self.problems[problems_of(split)][1])
            _same(path, "number of samples per problem", drawn.get(split), n)
        return path, table


def _same(path: Path, what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise UserError(f"{path}: its {what} is {found}, this study's is {expected}; delete the file and run again")


def _outcomes(path: Path, table: pa.Table, ids: list[str], n: int) -> Counted:
    """Rows of one split and step as arrays in the order of `ids`."""
    rows = pd.Index(ids).get_indexer(table["problem"].to_pylist())
    order = np.argsort(rows)
    if not np.array_equal(rows[order], np.arange(len(ids))):
        raise UserError(f"{path}: does not hold each of the study's {len(ids)} problems exactly once")
    lists, greedy = table["samples"].combine_chunks(), table["greedy"].to_numpy()
    starts, flat = lists.offsets.to_numpy(), lists.flatten().to_numpy()
    tries = np.diff(starts)
    if lists.null_count or tries.min() < n:
        raise UserError(f"{path}: does not hold {n} samples for every problem")
    if not (np.isin(flat, (0, 1)).all() and np.isin(greedy, (0, 1)).all()):
        raise UserError(f"{path}: outcomes must be 0 or 1")
    flat, starts = flat.astype(np.int8), starts - starts[0]
    samples, hits = flat[starts[:-1, None] + np.arange(n)], np.add.reduceat(flat, starts[:-1], dtype=np.int64)
    more = {name: table[name].to_numpy()[order] for name in ("difficulty", *DETAILS)}
    greedy, difficulty = greedy[order].astype(np.int8), more.pop("difficulty")
    return Counted(greedy, samples[order], difficulty, tries[order], hits[order], more)


def extra_seeds(study: Study) -> dict[str, tuple[int, ...]]:
    """Seeds by run beyond the plan, made by hand: of runs that are not planned, and more of those that are.

    A run counts if the study accepts its name and its record carries the hash of that run; others are left alone.

    Raises:
        UserError: a record is damaged.
    """
    source = source_of(study)
    planned = {(run, seed) for run in study.runs for seed in study.seeds}
    found: dict[str, list[int]] = {}
    for name, seed in source.trained():
        if (name, seed) in planned:
            continue
        try:
            run = study.run(name, seed)
        except UserError:
            continue
        known = source.record("training", name, seed)
        if run.name == name and known and known[1].get("run_hash") == run.hash:
            found.setdefault(name, []).append(seed)
    return {name: tuple(sorted(seeds)) for name, seeds in found.items()}
