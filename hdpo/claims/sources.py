"""Where results lie: each run in a folder of its own, as it was made, or all runs of a study in three Parquet files.

The published form holds the same numbers in a fraction of the space: one row for each problem and evaluation, whose
samples are the bits of a whole number; one row for each training step; and every record as it was written.
"""

import json
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hdpo.run.outcomes import schema
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, verify_files, write_atomic, write_record

REFERENCE = Path("results/reference")
FILES = ("outcomes.parquet", "curves.parquet", "records.parquet")
BITS = 64  # samples of one problem that fit into a row
Key = tuple[str, int]  # run and seed


class Source(Protocol):
    """Every method returns None where there is no such result.

    Raises, from every method:
        UserError: a file is unreadable, or has changed since its record.
    """

    def outcomes(self, kind: str, run: str, seed: int) -> tuple[Path, pa.Table, dict[str, Any]] | None:
        """Outcomes of a `test` or of `training`, columns as in `hdpo.run.outcomes`: place, table, what they state."""

    def record(self, kind: str, run: str, seed: int) -> tuple[Path, dict[str, Any]] | None:
        """The record of a `test` or of `training`, and where it lies."""

    def metrics(self, run: str, seed: int) -> tuple[Path, pd.DataFrame] | None:
        """One row per training step; nested keys become columns such as `tokens.rollout`."""

    def trained(self) -> list[Key]:
        """Runs and seeds that have finished training, sorted."""


class Folder:
    """A study's own folder, results/<study>/."""

    def __init__(self, study: Study) -> None:
        self.root = study.root

    def _path(self, kind: str, run: str, seed: int) -> Path:
        if kind == "test":
            return self.root / "eval" / run / f"seed{seed}.json"
        return self.root / "runs" / run / f"seed{seed}" / "run.json"

    def outcomes(self, kind: str, run: str, seed: int) -> tuple[Path, pa.Table, dict[str, Any]] | None:
        record = self._path(kind, run, seed)
        path = record.with_suffix(".parquet") if kind == "test" else record.with_name("evals.parquet")
        if not path.exists():
            return None
        verify_files(record, path.name)
        try:
            table = pq.read_table(path)
            return path, table.select(schema().names).cast(schema()), json.loads(table.schema.metadata[b"hdpo"])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: damaged, or not outcomes as this version writes them; evaluate again") from error

    def record(self, kind: str, run: str, seed: int) -> tuple[Path, dict[str, Any]] | None:
        path = self._path(kind, run, seed)
        return (path, read_record(path)) if path.exists() else None

    def metrics(self, run: str, seed: int) -> tuple[Path, pd.DataFrame] | None:
        path = self._path("training", run, seed).with_name("metrics.jsonl")
        if not path.exists():
            return None
        verify_files(path.with_name("run.json"), path.name)
        try:
            return path, pd.json_normalize([json.loads(line) for line in path.read_text("utf-8").splitlines()])
        except (ValueError, AttributeError, NotImplementedError) as error:
            raise UserError(f"{path}: not one JSON object of training metrics per line; train again") from error

    def trained(self) -> list[Key]:
        found = []
        for path in self.root.glob("runs/*/seed*/run.json"):
            digits = path.parts[-2].removeprefix("seed")
            if digits.isascii() and digits.isdigit():
                found.append((path.parts[-3], int(digits)))
        return sorted(found)


class Published:
    """The published results of a study, results/reference/<study>/."""

    def __init__(self, study: Study) -> None:
        """Read nothing yet.

        Raises:
            UserError: the study is not published, or a file has changed since.
        """
        self.root = REFERENCE / study.name
        verify_files(self.root / "published.json", *FILES)

    @cached_property
    def _records(self) -> dict[tuple[str, str, int], dict[str, Any]]:
        rows = pq.read_table(self.root / "records.parquet").to_pylist()
        return {(row["kind"], row["run"], row["seed"]): row for row in rows}

    @cached_property
    def _outcomes(self) -> pa.Table:
        return pq.read_table(self.root / "outcomes.parquet")

    @cached_property
    def _curves(self) -> pd.DataFrame:
        return pd.read_parquet(self.root / "curves.parquet")

    def outcomes(self, kind: str, run: str, seed: int) -> tuple[Path, pa.Table, dict[str, Any]] | None:
        found = self._records.get((kind, run, seed))
        if found is None or found["outcomes"] is None:
            return None
        part = self._outcomes.slice(found["first_outcome"], found["outcomes"]).combine_chunks()
        tries = part["tries"].to_numpy()
        bits = np.unpackbits(part["samples"].to_numpy().astype("<u8").view(np.uint8), bitorder="little")
        drawn = bits.reshape(-1, BITS)[np.arange(BITS) < tries[:, None]].astype(np.int8)
        samples = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], tries.cumsum()]), pa.int32()), pa.array(drawn))
        at = part.schema.get_field_index("samples")
        table = part.set_column(at, "samples", samples).select(schema().names).cast(schema())
        return self.root / FILES[0], table, json.loads(found["stated"])

    def record(self, kind: str, run: str, seed: int) -> tuple[Path, dict[str, Any]] | None:
        found = self._records.get((kind, run, seed))
        return (self.root / FILES[2], json.loads(found["record"])) if found else None

    def metrics(self, run: str, seed: int) -> tuple[Path, pd.DataFrame] | None:
        found = self._records.get(("training", run, seed))
        if found is None:
            return None
        rows = self._curves.iloc[found["first_step"] : found["first_step"] + found["steps"]]
        return self.root / FILES[1], rows.reset_index(drop=True)  # nan in columns that other methods have

    def trained(self) -> list[Key]:
        return sorted((run, seed) for kind, run, seed in self._records if kind == "training")


def write_published(study: Study) -> Path:
    """Write the study's finished runs to results/reference/<study>/, planned ones and the base model alone.

    A run that was published before, with this configuration, stays where the study's own folder does not hold it: runs
    from several machines, or of which one was lost, come together so.

    Raises:
        UserError: a result is damaged, or a problem has more samples than fit.
    """
    out = REFERENCE / study.name
    sources: list[Source] = [Folder(study)]
    if (out / "published.json").exists():
        sources.append(Published(study))
    planned = {(run, seed) for run in study.runs for seed in study.seeds}
    keys = [("test", BASE_RUN, 0)] + [(kind, *key) for key in sorted(planned) for kind in ("training", "test")]
    tables, curves, records = [], [], []
    outcomes_so_far = steps_so_far = 0
    for kind, run, seed in keys:
        expected = study.base_hash if run == BASE_RUN else study.run(run, seed).hash
        for source in sources:
            record, found = source.record(kind, run, seed), source.outcomes(kind, run, seed)
            if record and found and (isinstance(source, Folder) or found[2].get("run_hash") == expected):
                break
        else:
            continue
        _, table, stated = found
        row = {"kind": kind, "run": run, "seed": seed, "record": json.dumps(record[1]), "stated": json.dumps(stated)}
        row |= {"first_outcome": outcomes_so_far, "outcomes": len(table), "first_step": steps_so_far, "steps": 0}
        tables.append(_compact(table, run, seed))
        outcomes_so_far += len(table)
        metrics = source.metrics(run, seed) if kind == "training" else None
        if metrics is not None:
            curves.append(metrics[1].assign(run=run, seed=seed))
            row["steps"] = len(metrics[1])
            steps_so_far += len(metrics[1])
        records.append(row)
    if not curves:
        raise UserError(f"{study.root}: no finished run to publish")
    steps = pd.concat(curves, ignore_index=True).infer_objects().sort_index(axis="columns")
    numbers = steps.select_dtypes("float64").columns
    written = {
        "outcomes.parquet": pa.concat_tables(tables),
        "curves.parquet": pa.Table.from_pandas(steps.astype(dict.fromkeys(numbers, "float32")), preserve_index=False),
        "records.parquet": pa.Table.from_pylist(records),
    }
    for name, table in written.items():
        write_atomic(out / name, partial(_write, table))
    write_record(out / "published.json", {"study": study.name, "runs": len(curves)}, [out / name for name in written])
    return out


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=15)


def _compact(table: pa.Table, run: str, seed: int) -> pa.Table:
    """Outcomes with their samples as bits, first draw first; entropies to three decimals."""
    lists = table["samples"].combine_chunks()
    tries = np.diff(lists.offsets.to_numpy())
    if tries.max(initial=0) > BITS:
        raise UserError(f"run {run} seed {seed}: {tries.max()} samples of a problem; {BITS} at most can be published")
    bits = np.zeros((len(table), BITS), np.uint8)
    bits[np.arange(BITS) < tries[:, None]] = lists.flatten().to_numpy()
    packed = np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0]
    columns = {name: table[name] for name in table.column_names if name != "samples"}
    columns |= {"tries": pa.array(tries.astype(np.uint8)), "samples": pa.array(packed)}
    columns["entropy"] = pa.array(table["entropy"].to_numpy().round(3))
    seeds = pa.array(np.full(len(table), seed, np.int32))
    return pa.table({"run": pa.array([run] * len(table)).dictionary_encode(), "seed": seeds} | columns)


def source_of(study: Study) -> Source:
    """The study's own folder, or its published results where the study says so."""
    return Published(study) if study.published else Folder(study)


def published_sample(study: Study) -> list[Key]:
    """The runs that the study's section `repeat` names, as far as they are published."""
    if study.repeat is None:
        return []
    there, seeds = set(Published(study).trained()), study.seeds[: study.repeat.seeds]
    return [(run, seed) for run in study.repeat.runs for seed in seeds if (run, seed) in there]
