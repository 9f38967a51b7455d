"""OpenMathInstruct-2 and GSM8K: written problems, the model's chat template, answers judged by math-verify."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, overload

import numpy as np

from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.launch import is_first
from hdpo.tasks import Problem, Task, Verdict
from hdpo.tasks.config import MathTask
from hdpo.tasks.fitting import FITS, REASONS, row_fits
from hdpo.tasks.grading import BOX, grade, last_boxed
from hdpo.tasks.prompts import chat_prompt, fill, read_templates
from hdpo.tasks.rows import data_commit, first_occurrences, held_out, load_rows, read_problem
from hdpo.tasks.workers import Crashed, TimedOut, WorkerPool

WORK = re.compile(r"[=+*/^<>×÷·≈≤≥]|\d\s*-\s*\d|\\(?:frac|times|cdot|div|sqrt|approx|leq?|geq?)\b")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Rows(Sequence[Problem]):
    """Some rows of a data set as problems, read on demand: a million need not fit in memory."""

    config: MathTask
    data: Any  # datasets.Dataset
    numbers: np.ndarray  # row numbers, in order

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, position: int) -> Problem: ...

    @overload
    def __getitem__(self, position: slice) -> "Rows": ...

    def __getitem__(self, position: int | slice) -> "Problem | Rows":
        if isinstance(position, slice):
            return Rows(self.config, self.data, self.numbers[position])
        number = int(self.numbers[position])
        return read_problem(self.config, number, self.data[number])


class WrittenMath(Task):
    """A study's math task. Problems keep the split's random order; those whose prompts do not fit are left out."""

    verifier_can_fail = True

    def __init__(self, study: Study, config: MathTask) -> None:
        self.study, self.config = study, config
        self.templates = read_templates(self.config)
        self.room = study.model.max_length - study.train.max_response_tokens  # tokens that a prompt may have
        self.pool = WorkerPool(grade, study.hardware.threads_per_rank, self.config.reward_timeout)
        self.part = cache(self._part)
        self.row_fits = cache(lambda split: row_fits(self, self.data[split]))

    @cached_property
    def tokenizer(self) -> Any:
        from hdpo.model.loading import load_tokenizer

        return load_tokenizer(self.study.base_path, self.study.model.revision)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The data set's own splits that the study draws from, as `datasets.Dataset`."""
        return {split: load_rows(self.config, split) for split in self.config.data_splits}

    @property
    def commit(self) -> str | None:
        return data_commit(next(iter(self.data.values())))

    @cached_property
    def split_rows(self) -> dict[str, tuple[str, np.ndarray]]:
        """Parts train, held_out and perhaps the data set's own test: name of the data split, row numbers in order."""
        source, *own_test = self.config.data_splits
        numbers = {split: np.arange(len(rows)) for split, rows in self.data.items()}
        if self.config.repeated_problems == "drop":
            numbers = first_occurrences({split: rows[self.config.columns[0]] for split, rows in self.data.items()})
        train, held = held_out(len(numbers[source]), self.config.train_share, self.config.seed)
        parts = {"train": (source, numbers[source][train]), "held_out": (source, numbers[source][held])}
        return parts | ({"test": (own_test[0], numbers[own_test[0]])} if own_test else {})

    def _part(self, name: str) -> tuple[np.ndarray, dict[str, int]]:
        """Row numbers of a part whose prompts fit, in order, and how many were left out for each of `REASONS`."""
        source, numbers = self.split_rows[name]
        fits = self.row_fits(source)[numbers]
        kept, dropped = numbers[fits == FITS], {name: int((fits == reason).sum()) for name, reason in REASONS.items()}
        if any(dropped.values()) and is_first():
            reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items())
            print(f"{self.config.name}, {name}: {len(kept)} of {len(numbers)} rows kept ({reasons})", file=sys.stderr)
        return kept, dropped

    def lengths(self, prompts: list[str]) -> list[int]:
        """Tokens of each prompt, as the trainer encodes it."""
        return [len(ids) for ids in self.tokenizer(prompts, add_special_tokens=False)["input_ids"]] if prompts else []

    def problems(self, split: str) -> Rows:
        """A split's problems. Validation has the first held-out rows, as in the base framework.

        Raises:
            UserError: too few rows fit.
        """
        sizes = self.config.problems
        own_test = len(self.config.data_splits) > 1
        places = {
            "train": ("train", 0),
            "validation": ("held_out", 0),
            "test": ("test", 0) if own_test else ("held_out", sizes.validation),
            "development": ("held_out", sizes.validation + (0 if own_test else sizes.test)),
        }
        part, start = places[split]
        fitting, dropped = self.part(part)
        wanted, too_long = getattr(sizes, split), dropped["student_too_long"] + dropped["teacher_too_long"]
        numbers = fitting[start : start + wanted]
        if len(numbers) < (wanted if split != "train" else 1):
            raise UserError(
                f"task.problems.{split}: {wanted} wanted, {len(numbers)} left of {len(fitting)} in the {part} part"
                f" (prompts over {self.room} tokens: {too_long} dropped);"
                f" lower task.problems or task.train_share, or raise model.max_length"
            )
        source, _ = self.split_rows[part]
        return Rows(self.config, self.data[source], numbers)

    def content(self, role: str, problem: Problem) -> str:
        """What `student` or `teacher` is shown, before the chat template."""
        return fill(self.templates[role], problem=problem.question, **{self.config.hint: problem.hint})

    def student_prompt(self, problem: Problem) -> str:
        return chat_prompt(self.tokenizer, self.content("student", problem))

    def privileged_prompt(self, problem: Problem) -> str:
        return chat_prompt(self.tokenizer, self.content("teacher", problem))

    def reward(self, problem: Problem, response: str) -> float:
        return float(self.judge([problem], [response]) == [Verdict.CORRECT])

    def judge(self, problems: Sequence[Problem], responses: Sequence[str]) -> list[Verdict]:
        """Verdicts from the worker processes, in order; equal pairs of answer and response are judged once."""
        calls = [(p.answer, text, self.config.reward) for p, text in zip(problems, responses, strict=True)]
        distinct = list(dict.fromkeys(calls))
        verdicts = dict(zip(distinct, map(_verdict, self.pool.map(distinct)), strict=True))
        return [verdicts[call] for call in calls]

    def is_echo(self, problem: Problem, response: str) -> bool:
        """Whether a response merely repeats the answer, or a shown solution word for word.

        A response merely repeats the answer if, outside its last box, it has no sign of a calculation or relation and
        only numbers of the answer or the problem. This is a rule of thumb: work in words alone counts as an echo, and
        a formula quoted from the problem counts as work.
        """
        if super().is_echo(problem, response):
            return True
        box = last_boxed(response)
        outside = response if box is None else "".join(response.rpartition(BOX + box + "}")[::2])
        known = set(NUMBER.findall(problem.question)) | set(NUMBER.findall(problem.answer))
        return not WORK.search(outside) and set(NUMBER.findall(outside)) <= known


def _verdict(result: Verdict | TimedOut | Crashed) -> Verdict:
    if isinstance(result, TimedOut):
        return Verdict.TIMED_OUT
    return Verdict.CRASHED if isinstance(result, Crashed) else result
