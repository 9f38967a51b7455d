"""Rows of written problems: found here or on the hub, read as text, told apart by use, and divided into splits."""

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hdpo.system.errors import UserError, brief
from hdpo.tasks import Problem
from hdpo.tasks.config import WrittenProblems
from hdpo.tasks.verifiers import find_verifier, last_boxed

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
FOLDERS = ("", "data/", "main/")  # a plain folder, or a clone of the hub's repository
BATCH = 2048  # rows in Python's memory at a time
# Whether a row can be used, and why not: no problem or no answer, no hint, a hint that is the answer alone, an answer
# that the verifier cannot read, and a prompt that leaves no room for the response (the teacher's: only with the hint).
REASONS = ("unanswered", "no_hint", "bare_hint", "unreadable_answer", "student_too_long", "teacher_too_long")
FITS, UNANSWERED, NO_HINT, BARE_HINT, UNREADABLE, STUDENT_TOO_LONG, TEACHER_TOO_LONG = range(len(REASONS) + 1)


@dataclass(frozen=True)
class Rows(Sequence[Problem]):
    """Some rows of a table as problems, read on demand: a million need not fit in memory as Python's objects."""

    config: WrittenProblems
    table: pa.Table
    numbers: np.ndarray  # row numbers, in order

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, position: int) -> Problem: ...

    @overload
    def __getitem__(self, position: slice) -> "Rows": ...

    def __getitem__(self, position: int | slice) -> "Problem | Rows":
        if isinstance(position, slice):
            return Rows(self.config, self.table, self.numbers[position])
        return next(iter(self[position : position + 1 or None]))

    def __iter__(self) -> Iterator[Problem]:
        for start in range(0, len(self), BATCH):
            numbers = self.numbers[start : start + BATCH]
            columns = [column.to_pylist() for column in self.table.take(numbers).columns]
            for number, *texts in zip(numbers.tolist(), *columns, strict=True):
                yield self._problem(number, [text or "" for text in texts])

    def _problem(self, number: int, texts: list[str]) -> Problem:
        row = self.config.read(*texts)
        name = row.id or f"{hashlib.sha256(row.problem.encode()).hexdigest()[:12]}-{number}"
        return Problem(name, row.problem, getattr(row, self.config.hint), row.steps, row.answer)


@dataclass(frozen=True)
class Source:
    """All rows of one of the study's `places`."""

    rows: Rows
    reasons: np.ndarray  # FITS, or why the row cannot be used
    twins: np.ndarray  # equal for equal problems: how many distinct ones stood before the first of them
    firsts: np.ndarray  # whether the problem occurs in no earlier row or source


def load_sources(config: WrittenProblems) -> tuple[list[Source], str | None]:
    """The rows of every place, and the hub's commit that they come from.

    Raises:
        UserError: data cannot be loaded, a column is missing or holds no text, or an id is given twice.
    """
    folder, commit = data_folder(config)
    reads = getattr(find_verifier(config)[0], "reads", bool)
    sources: list[Source] = []
    twins: dict[str, int] = {}
    names: dict[str, int] = {}
    for place in config.places:
        table = pa.concat_tables([read_table(config, file) for file in data_files(config, place, folder)])
        rows = Rows(config, table.combine_chunks(), np.arange(table.num_rows))
        reasons, same, here, before = [], [], set(), len(twins)
        for number, problem in enumerate(rows, start=1):
            reasons.append(_reason(config, problem, reads))
            same.append(twin := twins.setdefault(same_problem(problem.question), len(twins)))
            if problem.id in here or names.setdefault(problem.id, twin) != twin:
                raise UserError(f"task.files {place}: row {number} has the id {problem.id[:60]!r} of an earlier row")
            here.add(problem.id)
        firsts = np.zeros(len(same), dtype=bool)
        firsts[np.unique(same, return_index=True)[1]] = True
        firsts &= np.array(same, dtype=np.int64) >= before
        sources.append(Source(rows, np.array(reasons, dtype=np.uint8), np.array(same, dtype=np.int64), firsts))
    return sources, commit


def _reason(config: WrittenProblems, problem: Problem, reads: Callable[[str], bool]) -> int:
    if not (problem.question.strip() and problem.answer):
        return UNANSWERED
    if not problem.hint.strip():
        return NO_HINT
    if config.hint == "solution" and (last_boxed(problem.hint) or problem.hint).strip(" \n$.") == problem.answer:
        return BARE_HINT
    return FITS if reads(problem.answer) else UNREADABLE


def data_folder(config: WrittenProblems) -> tuple[Path, str | None]:
    """The folder that the study's places are relative to, and its commit if it is a copy of the hub's.

    Raises:
        UserError: the hub cannot give it (no network, no such name, gated).
    """
    if config.is_local:
        return Path(config.path or "").expanduser(), None
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    wanted = [pattern for place in config.places for pattern in (place, *(f"{up}{place}[.-]*" for up in FOLDERS))]
    try:
        found = snapshot_download(config.path, repo_type="dataset", revision=config.revision, allow_patterns=wanted)
    except Exception as error:  # of many kinds; all mean that the data cannot be had
        raise UserError(
            f"task.path {config.path}: cannot be loaded ({type(error).__name__}: {brief(error)});"
            f" give a folder of downloaded files if there is no network"
        ) from error
    return Path(found), Path(found).name


def data_files(config: WrittenProblems, place: str, folder: Path | None = None) -> list[Path]:
    """The files of a place: a file of that name, or `place.*` and `place-*` in the folder or its data/ or main/.

    Raises:
        UserError: nothing there, files of several kinds, or an empty file.
    """
    folder = folder or data_folder(config)[0]
    if (folder / place).is_file() or folder.is_file():
        files = [folder if folder.is_file() else folder / place]
    else:
        candidates = (sorted((folder / up).glob(f"{place.lstrip('/')}[.-]*")) for up in FOLDERS)
        usable = ([file for file in found if file.suffix in SUFFIXES] for found in candidates)
        files = next(filter(None, usable), [])
    where = f"task.path {config.path}" if config.path else f"task.files {place}"
    if len({file.suffix for file in files}) != 1:
        raise UserError(
            f"{where}: no {place}.parquet, .jsonl or .csv and no {place}-*.parquet there (one kind of file);"
            f" give a file, such a folder or a name on the hub"
        )
    if files[0].suffix not in SUFFIXES:
        raise UserError(f"{where}: expected a file that ends in {', '.join(SUFFIXES)}")
    if not any(file.stat().st_size for file in files):
        raise UserError(f"{where}: {files[0].name} is empty")
    return files


def read_table(config: WrittenProblems, file: Path) -> pa.Table:
    """The columns that the task needs, in its order and as text; one that it does not name is empty.

    Raises:
        UserError: the file is damaged or not UTF-8, lacks a column, or a column holds neither text nor numbers.
    """
    wanted = dict.fromkeys(filter(None, config.needed))
    try:
        names, columns = _parquet(file, wanted) if file.suffix == ".parquet" else _records(file, wanted)
    except UnicodeError as error:
        raise UserError(f"{file}: is not UTF-8 ({brief(error)}); convert it") from error
    except (pa.ArrowException, csv.Error, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read ({type(error).__name__}: {brief(error)})") from error
    if missing := [name for name in wanted if name not in names]:
        raise UserError(f"{file}: no column {missing[0]!r}; its columns: {', '.join(names) or 'none'}")
    count = len(next(iter(columns.values())))
    empty = pa.nulls(count, pa.large_string())
    return pa.table([columns.get(name, empty) for name in config.needed], [str(i) for i in range(len(config.needed))])


def _parquet(file: Path, wanted: Iterable[str]) -> tuple[list[str], dict[str, pa.ChunkedArray]]:
    names = pq.read_schema(file).names
    table = pq.read_table(file, columns=[name for name in wanted if name in names])
    for field in table.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise ValueError(f"column {field.name!r} holds {field.type}, not text or numbers")
    return names, {name: table[name].cast(pa.large_string()) for name in table.column_names}


def _records(file: Path, wanted: Iterable[str]) -> tuple[list[str], dict[str, pa.Array]]:
    """CSV with a header, JSON lines, or a JSON list of objects. A number keeps the digits that it is written with."""
    numbers = {"parse_int": str, "parse_float": str, "parse_constant": lambda _: None}
    with open(file, encoding="utf-8-sig", newline="") as lines:
        if file.suffix == ".csv":
            csv.field_size_limit(2**31 - 1)
            reader = csv.DictReader(lines, strict=True)
            found, names = list(reader), list(reader.fieldnames or [])
        else:
            text = lines.read()
            whole = text.lstrip().startswith("[")
            texts = [text] if whole else filter(str.strip, text.split("\n"))
            found = [json.loads(line, **numbers) for line in texts]
            found = found[0] if whole else found
            names = list(dict.fromkeys(name for row in found if isinstance(row, dict) for name in row))
    columns: dict[str, list] = {name: [] for name in wanted if name in names}
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict) or None in row:
            raise ValueError(f"row {number} does not have the columns of the others")
        for name, column in columns.items():
            if not isinstance(value := row.get(name), str | None):
                raise ValueError(f"row {number}: column {name!r} holds {json.dumps(value)[:40]}, not text or a number")
            column.append(value)
    return names, {name: pa.array(column, pa.large_string()) for name, column in columns.items()}


def held_out(count: int, train_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training part and of the held-out part, in the order of `datasets`' train_test_split(seed).

    This is the base framework's split: by row, so that a problem with several solutions may stand in both parts.
    """
    share = round(1 - train_share, 12)  # 1 − 0.95 exceeds 0.05, which would hold out one row more
    order = np.random.default_rng(seed).permutation(count)
    held = math.ceil(share * count)
    return order[held:], order[:held]


def same_problem(problem: str) -> str:
    """The key of a problem: its wording without differences in white space and case."""
    return " ".join(problem.split()).casefold()
