"""Finds the rows whose prompts fit, once for all processes, runs and resumes.

Tokenising a million solutions takes minutes. The result is therefore cached by `datasets` beside the data, under a key
that covers everything it depends on.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from hdpo.study.identity import files_hash
from hdpo.system.files import json_sha256
from hdpo.tasks import Problem
from hdpo.tasks.prompts import chat_prompt
from hdpo.tasks.rows import read_problem

if TYPE_CHECKING:
    from hdpo.tasks.math import WrittenMath

BATCH = 2048  # prompts tokenised at a time
FITS, UNANSWERED, STUDENT_TOO_LONG, TEACHER_TOO_LONG = range(4)
REASONS = {
    "student_too_long": STUDENT_TOO_LONG,
    "teacher_too_long": TEACHER_TOO_LONG,  # the student's prompt would fit
    "unanswered": UNANSWERED,  # no problem or no final answer
}


def row_fits(task: "WrittenMath", rows: Any) -> np.ndarray:
    """Of every row of one of the data set's splits: `FITS`, or one of `REASONS` to leave it out.

    The first process to ask computes it; others that ask meanwhile wait.
    """
    from datasets import Features, Value
    from filelock import FileLock

    def find(batch: dict[str, list], numbers: list[int]) -> dict[str, list[int]]:
        if numbers[0] == 0:
            print(f"{task.config.name}: finding over-long prompts among {len(rows)} rows, once", file=sys.stderr)
        texts = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        return {"fits": _fit(task, [read_problem(task.config, n, row) for n, row in zip(numbers, texts, strict=True)])}

    key = _key(task, rows)
    with FileLock(Path(rows.cache_files[0]["filename"]).parent / f"{key}.lock"):
        found = rows.map(
            find,
            with_indices=True,
            batched=True,
            batch_size=BATCH,
            remove_columns=rows.column_names,
            features=Features({"fits": Value("uint8")}),
            new_fingerprint=key,
        )
    return found.data.column("fits").to_numpy()


def _key(task: "WrittenMath", rows: Any) -> str:
    frame = chat_prompt(task.tokenizer, "")  # some templates show the date
    with TemporaryDirectory() as folder:
        task.tokenizer.save_pretrained(folder)
        tokenizer = files_hash(sorted(Path(folder).iterdir()))
    # The number is the version of this file's rule. The fingerprint is how `datasets` identifies contents.
    return json_sha256([1, rows._fingerprint, task.config.hint, task.templates, tokenizer, frame, task.room])


def _fit(task: "WrittenMath", problems: list[Problem]) -> list[int]:
    fits = [FITS if problem.question.strip() and problem.answer else UNANSWERED for problem in problems]
    frame = len(chat_prompt(task.tokenizer, "").encode())
    for role, reason in (("student", STUDENT_TOO_LONG), ("teacher", TEACHER_TOO_LONG)):
        texts = {i: task.content(role, problem) for i, problem in enumerate(problems) if fits[i] == FITS}
        # An ASCII token has at least one character, so a short prompt fits without being tokenised. Other characters
        # may become several in a tokenizer's Unicode normal form.
        doubtful = {i: text for i, text in texts.items() if frame + len(text) > task.room or not text.isascii()}
        lengths = task.lengths([chat_prompt(task.tokenizer, text) for text in doubtful.values()])
        for i, length in zip(doubtful, lengths, strict=True):
            if length > task.room:
                fits[i] = reason
    return fits
