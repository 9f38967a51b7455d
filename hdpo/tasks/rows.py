"""Rows of written problems: found here or on the hub, read as text, told apart by use, and divided into splits."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from hdpo.system.errors import UserError, brief
from hdpo.tasks import Problem
from hdpo.tasks.config import Written
from hdpo.tasks.verifiers import BOX, find_verifier

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
FOLDERS = ("", "data/", "main/")  # a plain folder, or a clone of the hub's repository
# Why a row cannot be used: no problem or no answer, no hint, a hint that is the answer alone, an answer that the
# verifier cannot read, and a prompt that leaves no room for the response (the teacher's: only with the hint).
REASONS = ("unanswered", "no_hint", "bare_hint", "unreadable_answer", "student_too_long", "teacher_too_long")
FITS, UNANSWERED, NO_HINT, BARE_HINT, UNREADABLE, STUDENT_TOO_LONG, TEACHER_TOO_LONG = range(len(REASONS) + 1)


@dataclass(frozen=True)
class Source:
    """All rows of one of the study's `places`."""

    problems: list[Problem]
    reasons: np.ndarray  # FITS, or why the row cannot be used
    twins: np.ndarray  # equal for equal problems, in whatever source
    firsts: np.ndarray  # whether the problem occurs in no earlier row or source


def load_sources(config: Written) -> tuple[list[Source], str | None]:
    """The rows of every place, and the hub's commit that they come from.

    Raises:
        UserError: data cannot be loaded, a column is missing or holds no text, or an id is given twice.
    """
    folder, commit = data_folder(config)
    reads = getattr(find_verifier(config)[0], "reads", bool)
    sources: list[Source] = []
    known: dict[str, int] = {}
    for place in config.places:
        table = pa.concat_tables([read_table(config, file) for file in data_files(config, place, folder)])
        columns = [column.to_pylist() for column in table.columns]
        problems = [_problem(config, number, texts) for number, texts in enumerate(zip(*columns, strict=True))]
        before = len(known)
        twins = [known.setdefault(same_problem(problem.question), len(known)) for problem in problems]
        firsts = np.zeros(len(twins), dtype=bool)
        firsts[np.unique(twins, return_index=True)[1]] = True
        [(name, times)] = Counter(problem.id for problem in problems).most_common(1) or [("", 0)]
        if times > 1:
            raise UserError(f"task.files {place}: {times} rows have the id {name[:60]!r}")
        reasons = np.array([_reason(config, problem, reads) for problem in problems], dtype=np.uint8)
        sources.append(Source(problems, reasons, np.array(twins, dtype=np.int64), firsts & (np.array(twins) >= before)))
    return sources, commit


def _problem(config: Written, number: int, texts: tuple[str | None, ...]) -> Problem:
    row = config.read(*(text or "" for text in texts))
    name = row.id or f"{hashlib.sha256(row.problem.encode()).hexdigest()[:12]}-{number}"
    answer = row.answer.strip()
    return Problem(name, row.problem, answer if config.hint == "answer" else row.solution, row.steps, answer)


def _reason(config: Written, problem: Problem, reads: Callable[[str], bool]) -> int:
    if not (problem.question.strip() and problem.answer):
        return UNANSWERED
    if not problem.hint.strip():
        return NO_HINT
    if config.hint == "solution" and problem.hint.strip(" \n.$") in (problem.answer, f"{BOX}{problem.answer}}}"):
        return BARE_HINT
    return FITS if reads(problem.answer) else UNREADABLE


def data_folder(config: Written) -> tuple[Path, str | None]:
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
        found = snapshot_download(
            str(config.path), repo_type="dataset", revision=config.revision, allow_patterns=wanted
        )
    except Exception as error:  # of many kinds; all mean that the data cannot be had
        raise UserError(
            f"task.path {config.path}: cannot be loaded ({type(error).__name__}: {brief(error)});"
            f" give a folder of downloaded files if there is no network"
        ) from error
    return Path(found), Path(found).name


def data_files(config: Written, place: str, folder: Path | None = None) -> list[Path]:
    """The files of a place: a file of that name, or `place.*` and `place-*` in the folder or its data/ or main/.

    Raises:
        UserError: nothing there, files of several kinds, or an empty file.
    """
    folder = folder or data_folder(config)[0]
    whole = [file for file in (folder, folder / place) if file.is_file()]
    found = [
        [file for file in sorted((folder / up).glob(f"{place}[.-]*")) if file.suffix in SUFFIXES] for up in FOLDERS
    ]
    files = next(filter(None, [whole, *found]), [])
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


def read_table(config: Written, file: Path) -> pa.Table:
    """The columns that the task needs, in its order and as text; one without a name is empty.

    Raises:
        UserError: the file is damaged or not UTF-8, lacks a column, or a column holds neither text nor numbers.
    """
    wanted = list(dict.fromkeys(filter(None, config.needed)))
    names, table = load_table(file, wanted)
    if missing := [name for name in wanted if name not in names]:
        raise UserError(f"{file}: no column {missing[0]!r}; its columns: {', '.join(names)}")
    columns = []
    for name in config.needed:
        try:
            columns.append(table[name].cast(pa.large_string()) if name else pa.nulls(len(table), pa.large_string()))
            columns[-1].validate(full=True)  # text of a damaged file need not be UTF-8
        except (pa.ArrowException, KeyError) as error:
            raise UserError(f"{file}: column {name!r} is no text or numbers ({brief(error)})") from error
    return pa.table(columns, [str(i) for i in range(len(columns))])


def load_table(file: Path, wanted: list[str]) -> tuple[list[str], pa.Table]:
    """The names of a file's columns, and those of the wanted ones that it has.

    Raises:
        UserError: the file is missing, damaged or not UTF-8.
    """
    try:
        if file.suffix == ".parquet":
            names = pa.parquet.read_schema(file).names
            return names, pa.parquet.read_table(file, columns=[name for name in wanted if name in names])
        if file.suffix == ".csv":
            as_text = pa.csv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.large_string()))
            table = pa.csv.read_csv(file, None, pa.csv.ParseOptions(newlines_in_values=True), as_text)
            return table.column_names, table
        # Not Arrow's reader, nor `datasets`, which uses it: they take some texts for times and round long numbers.
        lines = file.read_text(encoding="utf-8-sig").split("\n")
        rows = [json.loads(line, parse_int=str, parse_float=str) for line in lines if line.strip()]
        names = list(dict.fromkeys(name for row in rows for name in dict(row)))
        return names, pa.table({name: [row.get(name) for row in rows] for name in wanted})
    except (pa.ArrowException, OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read ({type(error).__name__}: {brief(error)})") from error


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
