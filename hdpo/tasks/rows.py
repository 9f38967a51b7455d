"""Rows of a data set of written problems: found, loaded, read as problems, and divided into splits."""

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from hdpo.system.errors import UserError, brief
from hdpo.tasks import Problem
from hdpo.tasks.config import MathTask

SUFFIXES = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}  # and the `datasets` builder that reads them


def data_files(config: MathTask, split: str) -> list[Path]:
    """Local files of one of the data set's own splits: `path` itself, or `split.*` and `split-*` in its folder.

    Raises:
        UserError: nothing there, or files of several kinds.
    """
    path = Path(config.path).expanduser()
    # Otherwise a plain folder, or a clone of the hub's repository.
    folders = (sorted(folder.glob(f"{split}[.-]*")) for folder in (path, path / "data", path / "main"))
    candidates = ([file for file in found if file.suffix in SUFFIXES] for found in folders)
    files = [path] if path.is_file() else next(filter(None, candidates), [])
    kinds = {SUFFIXES.get(file.suffix) for file in files}
    if len(kinds) != 1:
        raise UserError(
            f"task.path {config.path}: no {split}.parquet, {split}.jsonl or {split}-*.parquet there"
            f" (one kind of file); give such a folder or a name on the hub"
        )
    if kinds == {None}:
        raise UserError(f"task.path {config.path}: expected a .parquet, .jsonl or .json file")
    if not any(file.stat().st_size for file in files):
        raise UserError(f"task.path {config.path}: {files[0].name} is empty")
    return files


def load_rows(config: MathTask, split: str) -> Any:
    """One of the data set's own splits as a `datasets.Dataset` with the task's columns, from the hub or local files.

    Raises:
        UserError: the data cannot be loaded (no network, no such name, gated, damaged), or a column is missing or
            is not text.
    """
    import datasets
    from huggingface_hub.utils import logging

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it also raises what it logs
    logging.set_verbosity_error()  # otherwise each retry prints a line
    local = data_files(config, split) if config.is_local else []
    try:
        if local:
            files = [str(file) for file in local]
            rows = datasets.load_dataset(SUFFIXES[local[0].suffix], data_files=files, split="train")
        else:
            rows = datasets.load_dataset(config.path, config.subset, split=split, revision=config.revision)
    except Exception as error:  # of many kinds; all mean that the data cannot be loaded
        # A DatasetGenerationError says nothing by itself; its cause does.
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else error
        raise UserError(
            f"task.path {config.path}, split {split}: cannot be loaded ({type(cause).__name__}: {brief(cause)});"
            f" give a folder of downloaded files if there is no network"
        ) from error
    for column in config.columns:
        if column not in rows.column_names:
            raise UserError(
                f"task.path {config.path}, split {split}: no column {column!r}; {config.name} needs"
                f" {', '.join(config.columns)}, found {', '.join(rows.column_names)}"
            )
        if getattr(rows.features[column], "dtype", None) not in ("string", "large_string"):
            raise UserError(f"task.path {config.path}, split {split}: column {column!r} must hold text")
    return rows.select_columns(list(config.columns))


def data_commit(rows: Any) -> str | None:
    """The hub's commit that rows were loaded from, or None for local files. `datasets` names its cache after it."""
    folder = Path(rows.cache_files[0]["filename"]).parent.name
    return folder if re.fullmatch("[0-9a-f]{40}", folder) else None


def read_problem(config: MathTask, number: int, row: dict[str, Any]) -> Problem:
    """The row as a problem. A row that lacks a text reads as empty, and could not be judged."""
    found = config.read(dict.fromkeys(config.columns, "") if None in row.values() else row)
    name = f"{hashlib.sha256(found.problem.encode()).hexdigest()[:12]}-{number}"
    return Problem(name, found.problem, getattr(found, config.hint), found.steps, found.answer)


def held_out(count: int, train_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training part and of the held-out part, in the order of `datasets`' train_test_split(seed).

    This is the base framework's split: by row, so that a problem with several solutions may stand in both parts.
    """
    share = round(1 - train_share, 12)  # 1 − 0.95 exceeds 0.05, which would hold out one row more
    order = np.random.default_rng(seed).permutation(count)
    held = math.ceil(share * count)
    return order[held:], order[:held]


def first_occurrences(problems: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Row numbers, by split, of the rows whose problem occurs in no earlier row or split."""
    seen: set[str] = set()
    numbers: dict[str, list[int]] = {split: [] for split in problems}
    for split, texts in problems.items():
        for number, text in enumerate(texts):
            if (name := same_problem(text or "")) not in seen:
                seen.add(name)
                numbers[split].append(number)
    return {split: np.array(found, dtype=np.int64) for split, found in numbers.items()}


def same_problem(problem: str) -> str:
    """The key of a problem: its wording without differences in white space and case."""
    return " ".join(problem.split()).casefold()
