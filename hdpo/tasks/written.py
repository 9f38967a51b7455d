"""Written problems: a study's splits of them, the model's chat template, and a verifier that runs in processes."""

import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.launch import is_first
from hdpo.tasks import SPLITS, Problem, Task, Verdict
from hdpo.tasks.config import WrittenProblems
from hdpo.tasks.fitting import fitting_reasons
from hdpo.tasks.prompts import chat_prompt, fill, read_templates
from hdpo.tasks.rows import FITS, REASONS, STUDENT_TOO_LONG, Rows, held_out, load_sources
from hdpo.tasks.verifiers import BOX, find_verifier, last_boxed
from hdpo.tasks.workers import Crashed, TimedOut, WorkerPool

WORK = re.compile(r"[=+*/^<>×÷·≈≤≥]|\d\s*-\s*\d|\\(?:frac|times|cdot|div|sqrt|approx|leq?|geq?)\b")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SHOWN = 5  # row numbers that a message gives for each reason


class WrittenTask(Task):
    """A study's written problems. They keep the split's random order; rows that cannot be used are left out."""

    verifier_can_fail = True

    def __init__(self, study: Study, config: WrittenProblems) -> None:
        """Read the rows, and refuse those that could not fill the study's splits however short the prompts are.

        Raises:
            UserError: too few rows can be used, or the data, a template or the verifier cannot be loaded.
        """
        self.study, self.config = study, config
        self.templates = read_templates(config)
        self.room = study.model.max_length - study.train.max_response_tokens  # tokens that a prompt may have
        function, self.arguments = find_verifier(config)
        self.pool = WorkerPool(function, study.hardware.threads_per_rank, config.reward_timeout)
        self.sources, self._commit = load_sources(config)
        self.parts = self._divide()
        self.fitting = cache(lambda index: fitting_reasons(self, self.sources[index], index))
        self.report = cache(self._report)  # once
        for split in SPLITS:
            self._choose(split, lambda index: self.sources[index].reasons)

    def _divide(self) -> dict[str, tuple[int, np.ndarray]]:
        """Parts train, held_out and perhaps the study's own test: number of the source, row numbers in order."""
        drops, sources = self.config.repeated_problems == "drop", self.sources
        usable = [np.flatnonzero(source.firsts) if drops else source.rows.numbers for source in sources]
        train, held = held_out(len(usable[0]), self.config.train_share, self.config.seed)
        parts = {"train": (0, usable[0][train]), "held_out": (0, usable[0][held])}
        if len(sources) > 1:
            parts["test"] = (1, usable[1])
        training = sources[0].twins[parts["train"][1]]
        if repeated := sum(map(lambda source, kept: len(source.rows) - len(kept), sources, usable)):
            _say(f"{self.config.name}: {repeated} rows repeat a problem of an earlier one and are left out")
        for name, (index, numbers) in parts.items():
            twice = int(np.isin(sources[index].twins[numbers], training).sum()) if name != "train" else 0
            if twice:
                _say(f"{self.config.name}: {twice} of {len(numbers)} {name} problems are also training problems")
        return parts

    @cached_property
    def tokenizer(self) -> Any:
        from hdpo.model.loading import load_tokenizer

        return load_tokenizer(self.study.base_path, self.study.model.revision)

    @property
    def commit(self) -> str | None:
        return self._commit

    def lengths(self, prompts: list[str]) -> list[int]:
        """Tokens of each prompt, as the trainer encodes it."""
        return [len(ids) for ids in self.tokenizer(prompts, add_special_tokens=False)["input_ids"]] if prompts else []

    def problems(self, split: str) -> Rows:
        """A split's problems. Validation has the first held-out rows, as in the base framework.

        Raises:
            UserError: too few rows fit.
        """
        rows, part = self._choose(split, self.fitting)
        self.report(part)
        return rows

    def twins(self, split: str) -> np.ndarray:
        """Equal numbers for a split's equal problems, whatever the split."""
        rows, part = self._choose(split, self.fitting)
        return self.sources[self.parts[part][0]].twins[rows.numbers]

    def dropped(self, part: str) -> dict[str, list[int]]:
        """The rows of a part that are left out, for each of REASONS, counted from 1."""
        index, numbers = self.parts[part]
        return _rows_by_reason(numbers, self.fitting(index))

    def _choose(self, split: str, reasons: Callable[[int], np.ndarray]) -> tuple[Rows, str]:
        """A split's rows by the reasons of their source, and the part that holds them."""
        sizes = self.config.problems
        start = {"development": sizes.validation + sizes.test, "test": sizes.validation}.get(split, 0)
        part = "train" if split == "train" else "held_out"
        if len(self.sources) > 1:
            part = "test" if split == "test" else part
            start = sizes.validation if split == "development" else 0
        index, numbers = self.parts[part]
        found = reasons(index)[numbers]
        wanted, fitting = getattr(sizes, split), numbers[found == FITS]
        chosen = fitting[start : start + wanted]
        if len(chosen) < (wanted if split != "train" else 1):
            why = _why(_rows_by_reason(numbers, reasons(index)))
            too_long = int((found >= STUDENT_TOO_LONG).sum())
            advice = " or raise model.max_length" if too_long else ""
            raise UserError(
                f"task.problems.{split}: {wanted} wanted, {len(chosen)} left of {len(fitting)} in the {part} part"
                f" ({why or 'all of its rows are used'}); lower task.problems or task.train_share{advice}"
            )
        return Rows(self.config, self.sources[index].rows.table, chosen), part

    def _report(self, part: str) -> None:
        count, dropped = len(self.parts[part][1]), self.dropped(part)
        if left := sum(map(len, dropped.values())):
            _say(f"{self.config.name}, {part}: {count - left} of {count} rows kept ({_why(dropped)})")

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
        calls = [(p.answer, text, *self.arguments) for p, text in zip(problems, responses, strict=True)]
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


def _verdict(result: Any) -> Verdict:
    """What the verifier returned, or what became of its call, as a verdict."""
    if isinstance(result, Verdict):
        return result
    if isinstance(result, TimedOut | Crashed):
        return Verdict.TIMED_OUT if isinstance(result, TimedOut) else Verdict.CRASHED
    return Verdict.CORRECT if result else Verdict.WRONG


def _rows_by_reason(numbers: np.ndarray, reasons: np.ndarray) -> dict[str, list[int]]:
    return {name: (numbers[reasons[numbers] == i] + 1).tolist() for i, name in enumerate(REASONS, start=1)}


def _why(dropped: dict[str, list[int]]) -> str:
    """`2 no hint: rows 3, 17; 1 unanswered: row 4`."""
    parts = []
    for name, rows in dropped.items():
        if rows:
            shown = ", ".join(map(str, sorted(rows)[:SHOWN])) + ", …" * (len(rows) > SHOWN)
            parts.append(f"{len(rows)} {name.replace('_', ' ')}: row{'s' * (len(rows) > 1)} {shown}")
    return "; ".join(parts)


def _say(line: str) -> None:
    if is_first():
        print(line, file=sys.stderr)
