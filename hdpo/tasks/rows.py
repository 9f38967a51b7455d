"""Rows of a data set of written problems: loads them, reads them as problems, and divides them into splits."""

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdpo.system.errors import UserError, brief
from hdpo.tasks import Problem
from hdpo.tasks.config import Gsm8k, MathTask
from hdpo.tasks.sources import SUFFIXES, data_files, is_local

CALCULATION = re.compile(r"<<[^>]*>>")  # GSM8K's notes to a calculator, as in 48/2=<<48/2=24>>24


@dataclass(frozen=True)
class Row:
    """One row, whatever the columns of its data set."""

    problem: str
    solution: str
    answer: str
    steps: int  # of calculation in the solution, 0 where it does not say


def read_openmathinstruct2(row: dict[str, str]) -> Row:
    return Row(row["problem"], row["generated_solution"], row["expected_answer"].strip(), steps=0)


def read_gsm8k(row: dict[str, str]) -> Row:
    """GSM8K keeps solution and answer in one column, divided by ####. We box the answer, as the prompt asks."""
    solution, _, answer = row["answer"].rpartition("####")
    answer = answer.strip().replace(",", "")
    shown = f"{CALCULATION.sub('', solution).strip()}\nThe final answer is \\boxed{{{answer}}}."
    return Row(row["question"], shown, answer, steps=len(CALCULATION.findall(solution)))


COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, str]], Row]]] = {
    "openmathinstruct2": (("problem", "generated_solution", "expected_answer"), read_openmathinstruct2),
    "gsm8k": (("question", "answer"), read_gsm8k),
}


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
    subset = "main" if isinstance(config, Gsm8k) else None
    local = data_files(config, split) if is_local(config) else None
    try:
        if local:
            files = [str(file) for file in local]
            rows = datasets.load_dataset(SUFFIXES[local[0].suffix], data_files=files, split="train")
        else:
            rows = datasets.load_dataset(config.path, subset, split=split, revision=config.revision)
    except Exception as error:  # of many kinds; all mean that the data cannot be loaded
        # A DatasetGenerationError says nothing by itself; its cause does.
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else error
        raise UserError(
            f"task.path {config.path}, split {split}: cannot be loaded ({type(cause).__name__}: {brief(cause)});"
            f" give a folder of downloaded files if there is no network"
        ) from error
    columns, _ = COLUMNS[config.name]
    for column in columns:
        if column not in rows.column_names:
            raise UserError(
                f"task.path {config.path}, split {split}: no column {column!r}; {config.name} needs"
                f" {', '.join(columns)}, found {', '.join(rows.column_names)}"
            )
        if getattr(rows.features[column], "dtype", None) not in ("string", "large_string"):
            raise UserError(f"task.path {config.path}, split {split}: column {column!r} must hold text")
    return rows.select_columns(list(columns))


def data_commit(rows: Any) -> str | None:
    """The hub's commit that rows were loaded from, or None for local files. `datasets` names its cache after it."""
    folder = Path(rows.cache_files[0]["filename"]).parent.name
    return folder if re.fullmatch("[0-9a-f]{40}", folder) else None


def read_problem(config: MathTask, number: int, row: dict[str, Any]) -> Problem | None:
    """The row as a problem, or None if it lacks a problem or a final answer and so could not be judged."""
    columns, read = COLUMNS[config.name]
    if any(row[column] is None for column in columns):
        return None
    found = read(row)
    if not (found.problem.strip() and found.answer):
        return None
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
