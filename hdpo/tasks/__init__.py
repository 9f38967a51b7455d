"""Tasks: where problems come from, what student and teacher are shown, and what counts as correct."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from hdpo.config import Study
from hdpo.errors import UserError

SPLITS = ("train", "development", "validation", "test")
TRAINING_SPLITS = ("development", "validation")  # evaluated during training; the test problems wait for the end


@dataclass(frozen=True)
class Problem:
    """One problem. `id` names it across splits and runs: equal ids are the same problem."""

    id: str
    question: str  # x
    hint: str  # y*, shown to the teacher only
    difficulty: int


class Task(Protocol):
    """What the trainer and the evaluation need of a task; adding a task means writing this class."""

    def problems(self, split: str) -> tuple[Problem, ...]: ...

    def student_prompt(self, problem: Problem) -> str:
        """x as text."""
        ...

    def privileged_prompt(self, problem: Problem) -> str:
        """x ⊕ y* as text."""
        ...

    def reward(self, problem: Problem, response: str) -> float:
        """R(x, y) in {0, 1}."""
        ...


def load_task(study: Study) -> Task:
    """The study's task.

    Raises:
        UserError: the task is configured but this version cannot run it.
    """
    if study.task.name == "countdown":
        from hdpo.tasks.countdown import CountdownTask

        return CountdownTask(study.task)
    raise UserError(f"task.name {study.task.name!r}: this version validates it but runs only 'countdown'")


def problem_set_hash(problems: tuple[Problem, ...]) -> str:
    """Identifies a list of problems and its order; results carry it, so that other problems cannot mix in."""
    return hashlib.sha256("\n".join(problem.id for problem in problems).encode()).hexdigest()[:12]
