"""Reading what training and evaluation wrote, and which code wrote it; refusing what does not belong to the study.

A missing file is no error: `Reader` returns None for it, and tables say *not run*. A file that is there but belongs to
another configuration, other problems or another number of samples is one, because its numbers would mix in silently.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hdpo.run.outcomes import DETAILS, schema
from hdpo.stats.passk import any_of_k, pass_at_k
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, verify_files
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
        self.study = study

    def final(self, run: str, seed: int) -> Counted | None:
        """Outcomes of a run's final weights, or of the base model's, on the test problems: [Q], [Q, n]."""
        path = self.study.root / "eval" / run / f"seed{seed}.parquet"
        if not path.exists():
            return None
        verify_files(path.with_suffix(".json"), path.name)
        n = self.study.evaluate.test_samples
        table = self._table(path, run, seed, {"test": n})
        return _outcomes(path, table.filter(pc.equal(table["split"], "test")), self.problems["test"][0], n)

    def start(self) -> dict[str, Counted] | None:
        """Outcomes of the base model, which is step 0 of every run, by split (`TRAINING_SPLITS`)."""
        path, n = self.study.root / "eval" / BASE_RUN / "seed0.parquet", self.study.evaluate.samples
        if not path.exists():
            return None
        verify_files(path.with_suffix(".json"), path.name)
        table = self._table(path, BASE_RUN, 0, dict.fromkeys(TRAINING_SPLITS, n))
        return {
            split: _outcomes(path, table.filter(pc.equal(table["split"], split)), self.problems[split][0], n)
            for split in TRAINING_SPLITS
        }

    def training(self, run: str, seed: int) -> dict[str, Curve] | None:
        """Evaluations during training, after step 0, by split (`TRAINING_SPLITS`)."""
        path = self.study.run(run, seed).folder / "evals.parquet"
        if not path.exists():
            return None
        verify_files(path.parent / "run.json", path.name)
        n, total, every = self.study.evaluate.samples, self.study.train.steps, self.study.evaluate.every
        table = self._table(path, run, seed, dict.fromkeys(TRAINING_SPLITS, n))
        steps = sorted({*range(every, total, every), total})
        curves = {}
        for split in TRAINING_SPLITS:
            part = table.filter(pc.equal(table["split"], split))
            found = pc.unique(part["step"]).to_pylist()
            if sorted(found) != steps:
                raise UserError(f"{path}: {split} must be evaluated every {every} of {total} steps, is at {found[:9]}")
            ids = self.problems[split][0]
            each = [_outcomes(path, part.filter(pc.equal(part["step"], step)), ids, n) for step in steps]
            stacked = Outcomes(np.stack([e.greedy for e in each]), np.stack([e.samples for e in each]))
            curves[split] = Curve(np.array(steps), stacked)
        return curves

    def record(self, run: str, seed: int) -> dict[str, Any] | None:
        """A training run's run.json."""
        planned = self.study.run(run, seed)
        path = planned.folder / "run.json"
        if not path.exists():
            return None
        record = read_record(path)
        _same(path, "configuration hash", record.get("run_hash"), planned.hash)
        _same(path, "seed", record.get("seed"), seed)
        return record

    def metrics(self, run: str, seed: int) -> pd.DataFrame | None:
        """One row per training step; nested keys become columns such as `tokens.rollout`."""
        path = self.study.run(run, seed).folder / "metrics.jsonl"
        if not path.exists():
            return None
        verify_files(path.with_name("run.json"), path.name)
        self.record(run, seed)
        try:
            frame = pd.json_normalize([json.loads(line) for line in path.read_text("utf-8").splitlines()])
            return frame.astype({"step": int, "cliffs": int, "cliff_fraction": float, "privileged_pass_rate": float})
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
            raise UserError(f"{path}: not one JSON object of training metrics per line; train again") from error

    @cached_property
    def problems(self) -> dict[str, tuple[list[str], str]]:
        """By split: problem ids in order, and the hash of the problem set."""
        task = self.study.task.load(self.study)
        sets = {split: task.problems(split) for split in (*TRAINING_SPLITS, "test")}
        return {split: ([problem.id for problem in found], problem_set_hash(found)) for split, found in sets.items()}

    def _table(self, path: Path, run: str, seed: int, samples: dict[str, int]) -> pa.Table:
        """The file's columns, once its metadata says that they belong here; `samples` of a problem by split."""
        try:
            table = pq.read_table(path)
            metadata = json.loads((table.schema.metadata or {})[b"hdpo"])
            stated = {key: metadata[key] for key in ("run", "seed", "run_hash")}
            stated["samples"], problems = dict(metadata["samples"]), dict(metadata["problems"])
            table = table.select(schema().names).cast(schema())
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: damaged, or not outcomes as this version writes them; evaluate again") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: does not say which run and problems it holds, or lacks a column") from error
        _same(path, "run", f"{stated['run']} seed {stated['seed']}", f"{run} seed {seed}")
        expected = self.study.base_hash if run == BASE_RUN else self.study.run(run, seed).hash
        _same(path, "configuration hash", stated["run_hash"], expected)
        for split, n in samples.items():
            _same(path, f"{split} problem set", problems.get(split), self.problems[split][1])
            _same(path, "number of samples per problem", stated["samples"].get(split), n)
        return table


def _same(path: Path, what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise UserError(f"{path}: its {what} is {found}, this study's is {expected}; delete the file and run again")


def _outcomes(path: Path, table: pa.Table, ids: list[str], n: int) -> Counted:
    """Rows of one split and step as arrays in the order of `ids`."""
    rows = pd.Index(ids).get_indexer(table["problem"].to_pylist())
    order = np.argsort(rows)
    if not np.array_equal(rows[order], np.arange(len(ids))):
        raise UserError(f"{path}: does not hold each of the study's {len(ids)} problems exactly once")
    greedy, lists = np.array(table["greedy"].to_pylist()), table["samples"].to_pylist()
    if any(outcomes is None or len(outcomes) < n for outcomes in lists):
        raise UserError(f"{path}: does not hold {n} samples for every problem")
    if not all(np.isin(outcomes, (0, 1)).all() for outcomes in (greedy, *lists)):
        raise UserError(f"{path}: outcomes must be 0 or 1")
    samples = np.array([outcomes[:n] for outcomes in lists], dtype=np.int8)
    tries, hits = np.array([(len(outcomes), sum(outcomes)) for outcomes in lists]).T
    more = {name: table[name].to_numpy()[order] for name in ("difficulty", *DETAILS)}
    greedy, difficulty = greedy[order].astype(np.int8), more.pop("difficulty")
    return Counted(greedy, samples[order], difficulty, tries[order], hits[order], more)


def extra_seeds(study: Study) -> dict[str, tuple[int, ...]]:
    """Seeds by run beyond the plan, made by hand: of runs that are not planned, and more of those that are.

    A folder counts if the study accepts its name and its run.json carries the hash of that run; others are left alone.

    Raises:
        UserError: a run.json is damaged.
    """
    planned = {(run, seed) for run in study.runs for seed in study.seeds}
    found: dict[str, list[int]] = {}
    for path in sorted((study.root / "runs").glob("*/seed*/run.json")):
        name, digits = path.parts[-3], path.parts[-2].removeprefix("seed")
        if not (digits.isascii() and digits.isdigit()) or (name, int(digits)) in planned:
            continue
        try:
            run = study.run(name, int(digits))
        except UserError:
            continue
        if run.folder == path.parent and read_record(path).get("run_hash") == run.hash:
            found.setdefault(name, []).append(run.seed)
    return {name: tuple(sorted(seeds)) for name, seeds in found.items()}
