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
from hdpo.tasks import Problem, Verdict
from hdpo.tasks.config import Problems
from hdpo.tasks.prompts import chat_prompt
from hdpo.tasks.rows import FITS, STUDENT_TOO_LONG, TEACHER_TOO_LONG, UNREADABLE
from hdpo.tasks.verifiers import BOX

if TYPE_CHECKING:
    from hdpo.tasks.written import WrittenTask

BATCH = 2048  # prompts tokenised at a time
PLAIN = re.compile(r"-?\d+(?:\.\d+)?")  # an answer that math-verify surely reads
SPLIT = {"problems", "seed", "train_share", "repeated_problems"}  # keys that say nothing about a row


def fitting_reasons(task: "WrittenTask", index: int) -> np.ndarray:
    """The reasons of every row of a source. The first process to ask finds them; others that ask meanwhile wait."""
    path = task.study.root / "state" / f"rows-{_key(task, index)}"
    make_folder(path.parent)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            problems, reasons = task.sources[index].problems, task.sources[index].reasons.copy()
            print(f"{task.config.name}: finding over-long prompts among {len(problems)} rows, once", file=sys.stderr)
            for start in range(0, len(problems), BATCH):
                rows = start + np.flatnonzero(reasons[start : start + BATCH] == FITS)
                reasons[rows] = _reasons(task, [problems[i] for i in rows])
            write_atomic(path, lambda out: out.write_bytes(reasons.tobytes()))
    return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def _key(task: "WrittenTask", index: int) -> str:
    frame = chat_prompt(task.tokenizer, "")  # some templates show the date
    with TemporaryDirectory() as folder:
        task.tokenizer.save_pretrained(folder)
        tokenizer = files_hash(sorted(Path(folder).iterdir()))
    rows = {key: value for key, value in task.config.described.items() if key not in SPLIT}
    # The number is the version of this file's rule.
    content = [1, index, rows, task.commit or task.study.task_files, task.templates, tokenizer, frame, task.room]
    return json_sha256(content)[:16]


def _reasons(task: "WrittenTask", problems: list[Problem]) -> list[int]:
    found = [FITS] * len(problems)
    for role, reason in (("student", STUDENT_TOO_LONG), ("teacher", TEACHER_TOO_LONG)):
        texts = [task.content(role, problem) for problem in problems]
        # An ASCII token has at least one character, so a short prompt fits without being tokenised. Other characters
        # may become several in a tokenizer's Unicode normal form.
        frame = len(chat_prompt(task.tokenizer, "").encode())
        doubtful = [i for i, text in enumerate(texts) if frame + len(text) > task.room or not text.isascii()]
        lengths = task.lengths([chat_prompt(task.tokenizer, texts[i]) for i in doubtful])
        for i, length in zip(doubtful, lengths, strict=True):
            found[i] = found[i] or (reason if length > task.room else FITS)
    if isinstance(task.config, Problems) and task.config.reward in ("hf_math_verify", "boxed"):
        unusual = [i for i, problem in enumerate(problems) if not PLAIN.fullmatch(problem.answer)]
        some = [problems[i] for i in unusual]
        verdicts = task.judge(some, [f"{BOX}{problem.answer}}}" for problem in some])
        for i, verdict in zip(unusual, verdicts, strict=True):
            found[i] = found[i] or (FITS if verdict == Verdict.CORRECT else UNREADABLE)
    return found
