"""Finds the rows whose prompts fit and whose answers math-verify reads, once for all processes, runs and resumes.

Tokenising a million solutions takes minutes. The outcome is kept in the study's results, under a name that covers all
that it depends on.
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from hdpo.study.identity import files_hash
from hdpo.system.files import json_sha256, make_folder, write_atomic
from hdpo.tasks import Verdict
from hdpo.tasks.prompts import chat_prompt
from hdpo.tasks.rows import BATCH, FITS, STUDENT_TOO_LONG, TEACHER_TOO_LONG, UNREADABLE, Rows, Source
from hdpo.tasks.verifiers import BOX

if TYPE_CHECKING:
    from hdpo.tasks.written import WrittenTask

PLAIN = re.compile(r"-?\d+(?:\.\d+)?")  # an answer that math-verify surely reads


def fitting_reasons(task: "WrittenTask", source: Source, index: int) -> np.ndarray:
    """The reasons of every row of one of the task's sources. The first process to ask finds them; others wait."""
    path = task.study.root / "state" / f"rows-{_key(task, index)}.npy"
    make_folder(path.parent)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            print(f"{task.config.name}: finding over-long prompts among {len(source.rows)} rows, once", file=sys.stderr)
            found = _reasons(task, source)
            write_atomic(path, lambda out: out.write_bytes(found.tobytes()))
    return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def _key(task: "WrittenTask", index: int) -> str:
    frame = chat_prompt(task.tokenizer, "")  # some templates show the date
    with TemporaryDirectory() as folder:
        task.tokenizer.save_pretrained(folder)
        tokenizer = files_hash(sorted(Path(folder).iterdir()))
    split = {"problems", "seed", "train_share", "repeated_problems"}
    described = {key: value for key, value in task.config.described.items() if key not in split}
    data = [described, task.commit or task.study.task_files, index]
    return json_sha256([data, task.templates, tokenizer, frame, task.room])[:16]  # and the version of this rule


def _reasons(task: "WrittenTask", source: Source) -> np.ndarray:
    reasons = source.reasons.copy()
    for start in range(0, len(reasons), BATCH):
        numbers = start + np.flatnonzero(reasons[start : start + BATCH] == FITS)
        problems = list(Rows(task.config, source.rows.table, numbers))
        for role, reason in (("student", STUDENT_TOO_LONG), ("teacher", TEACHER_TOO_LONG)):
            for i in _too_long(task, [task.content(role, problem) for problem in problems]):
                reasons[numbers[i]] = reasons[numbers[i]] or reason
        unusual = [i for i, problem in enumerate(problems) if not PLAIN.fullmatch(problem.answer)]
        if unusual and task.config.tests_answers and task.config.reward in ("hf_math_verify", "boxed"):
            some = [problems[i] for i in unusual]
            verdicts = task.judge(some, [f"{BOX}{problem.answer}}}" for problem in some])
            for i, verdict in zip(unusual, verdicts, strict=True):
                reasons[numbers[i]] = reasons[numbers[i]] or (UNREADABLE if verdict != Verdict.CORRECT else FITS)
    return reasons


def _too_long(task: "WrittenTask", texts: list[str]) -> list[int]:
    """Which of the texts leave no room for a response.

    An ASCII token has at least one character, so a short prompt fits without being tokenised. Other characters may
    become several in a tokenizer's Unicode normal form.
    """
    frame = len(chat_prompt(task.tokenizer, "").encode())
    doubtful = [i for i, text in enumerate(texts) if frame + len(text) > task.room or not text.isascii()]
    lengths = task.lengths([chat_prompt(task.tokenizer, texts[i]) for i in doubtful])
    return [i for i, length in zip(doubtful, lengths, strict=True) if length > task.room]
