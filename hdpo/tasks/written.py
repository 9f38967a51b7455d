"""Written problems: a study's splits of them, the model's chat template, and a verifier that runs in processes."""

import re
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.launch import is_first
from hdpo.tasks import Problem, Task, Verdict
from hdpo.tasks.config import Written
from hdpo.tasks.fitting import fitting_reasons
from hdpo.tasks.prompts import chat_prompt, fill, read_templates
from hdpo.tasks.rows import FITS, REASONS, held_out, load_sources
from hdpo.tasks.verifiers import BOX, find_verifier, last_boxed
from hdpo.tasks.workers import Crashed, TimedOut, WorkerPool

WORK = re.compile(r"[=+*/^<>×÷·≈≤≥]|\d\s*-\s*\d|\\(?:frac|times|cdot|div|sqrt|approx|leq?|geq?)\b")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
SHOWN = 5  # row numbers that a message gives for each reason


class WrittenTask(Task):
    """A study's written problems. They keep the split's random order; rows that cannot be used are left out."""

    verifier_can_fail = True

    def __init__(self, study: Study, config: Written) -> None:
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
        self._choose([source.reasons for source in self.sources])  # whatever the prompts' lengths

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

    def problems(self, split: str) -> list[Problem]:
        return self.splits[split][0]

    @cached_property
    def splits(self) -> dict[str, tuple[list[Problem], np.ndarray]]:
        """Each split's problems, in the order of its part, and their `twins`.

        Raises:
            UserError: too few rows fit.
        """
        chosen = self._choose(self.reasons)
        for part, (_, numbers) in self.parts.items():
            if why := _why(self.dropped(part)):
                self._say(f"{part}: {len(numbers)} rows, without {why}")
        found = {split: (self.sources[index], numbers) for split, (index, numbers) in chosen.items()}
        return {s: ([source.problems[i] for i in rows], source.twins[rows]) for s, (source, rows) in found.items()}

    @cached_property
    def reasons(self) -> list[np.ndarray]:
        """Of each source's rows, now also by their prompts."""
        return [fitting_reasons(self, index) for index, _ in enumerate(self.sources)]

    def dropped(self, part: str, reasons: list[np.ndarray] | None = None) -> dict[str, list[int]]:
        """The rows of a part that cannot be used, for each of `REASONS`, counted from 1."""
        index, numbers = self.parts[part]
        found = (reasons or self.reasons)[index][numbers]
        return {name: (numbers[found == i] + 1).tolist() for i, name in enumerate(REASONS, start=1)}

    def _divide(self) -> dict[str, tuple[int, np.ndarray]]:
        """Parts train, held_out and perhaps the study's own test: number of the source, row numbers in order."""
        drops, source = self.config.repeated_problems == "drop", self.sources[0]
        usable = [np.flatnonzero(found.firsts | (not drops)) for found in self.sources]
        train, held = held_out(len(usable[0]), self.config.train_share, self.config.seed)
        others = {"held_out": (0, usable[0][held])} | ({"test": (1, usable[1])} if usable[1:] else {})
        if repeated := sum(len(found.firsts) for found in self.sources) - sum(map(len, usable)):
            self._say(f"{repeated} rows repeat the problem of an earlier row and are left out")
        for name, (index, numbers) in others.items():
            if twice := np.isin(self.sources[index].twins[numbers], source.twins[usable[0][train]]).sum():
                self._say(f"{twice} of {len(numbers)} {name} problems are also training problems")
        return {"train": (0, usable[0][train])} | others

    def _choose(self, reasons: list[np.ndarray]) -> dict[str, tuple[int, np.ndarray]]:
        """Each split's source and row numbers. Validation has the first held-out rows, as in the base framework."""
        chosen, taken = {}, dict.fromkeys(self.parts, 0)
        for split in ("train", "validation", "test", "development"):
            part = split if split in self.parts else "held_out"
            index, numbers = self.parts[part]
            fitting, wanted = numbers[reasons[index][numbers] == FITS], getattr(self.config.problems, split)
            chosen[split] = index, fitting[taken[part] : taken[part] + wanted]
            taken[part] += wanted
            if (left := len(chosen[split][1])) < (wanted if split != "train" else 1):
                why = _why(self.dropped(part, reasons))
                raise UserError(
                    f"task.problems.{split}: {wanted} wanted, {left} left of {len(fitting)} in the {part} part"
                    + (f" (without {why})" if why else "")
                    + "; lower task.problems or task.train_share"
                    + (", or raise model.max_length" if "too long" in why else "")
                )
        return chosen

    def _say(self, line: str) -> None:
        if is_first():
            print(f"{self.config.name}: {line}", file=sys.stderr)

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


def _why(dropped: dict[str, list[int]]) -> str:
    """`2 no hint: rows 3, 17; 1 unanswered: row 4`."""
    parts = []
    for name, rows in dropped.items():
        shown = ", ".join(map(str, sorted(rows)[:SHOWN])) + ", …" * (len(rows) > SHOWN)
        parts += [f"{len(rows)} {name.replace('_', ' ')}: row{'s' * (len(rows) > 1)} {shown}"] if rows else []
    return "; ".join(parts)
