"""Tasks: the source of problems, the prompts of student and teacher, and what counts as correct."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from hdpo.study.study import Study

SPLITS = ("train", "development", "validation", "test")
TRAINING_SPLITS = ("development", "validation")  # evaluated during training; the test problems wait for the end


@dataclass(frozen=True)
class Problem:
    """One problem. Its `id` names it across splits and runs: equal ids mean the same problem."""

    id: str
    question: str  # x
    hint: str  # y*, shown to the teacher only
    difficulty: int
    answer: str = ""  # the expected final answer, where the verifier needs one


class Verdict(StrEnum):
    """What the verifier says of one response. Only `correct` has reward 1."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"  # holds no answer that could be read
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"


class Task(Protocol):
    """What the trainer and the evaluation need of a task; adding a task means writing this class."""

    verifier_can_fail: ClassVar[bool] = False  # it has more verdicts than right and wrong; metrics then count them

    @property
    def commit(self) -> str | None:
        """The commit of the hub that its data come from; None if they come from elsewhere."""
        return None

    def problems(self, split: str) -> Sequence[Problem]: ...

    def student_prompt(self, problem: Problem) -> str:
        """x as text."""
        ...

    def privileged_prompt(self, problem: Problem) -> str:
        """x ⊕ y* as text."""
        ...

    def reward(self, problem: Problem, response: str) -> float:
        """R(x, y) in {0, 1}."""
        ...

    def judge(self, problems: Sequence[Problem], responses: Sequence[str]) -> list[Verdict]:
        """The verdict on each response to the problem beside it; verifiers that can fail override this.

        Raises:
            NotFinite: a reward is neither 0 nor 1.
        """
        rewards = [self.reward(problem, text) for problem, text in zip(problems, responses, strict=True)]
        if odd := [reward for reward in rewards if reward not in (0, 1)]:
            from hdpo.system.finite import NotFinite  # here, as it imports torch: the verifier's processes do without

            raise NotFinite(f"rewards: {len(odd)} of {len(rewards)} neither 0 nor 1 (first: {odd[0]})")
        return [Verdict.CORRECT if reward == 1 else Verdict.WRONG for reward in rewards]

    def is_echo(self, problem: Problem, response: str) -> bool:
        """Whether a response merely repeats y*, which the filter R = 1 cannot see."""
        return response.split() == problem.hint.split()


def load_task(study: Study) -> Task:
    """The study's task.

    Raises:
        UserError: a math task's prompt templates are missing or wrong.
    """
    if study.task.name == "countdown":
        from hdpo.tasks.countdown import CountdownTask

        return CountdownTask(study.task)
    from hdpo.tasks.math import WrittenMath

    return WrittenMath(study)


def problem_set_hash(problems: Sequence[Problem]) -> str:
    """Identifies a list of problems and its order. Results carry it, so that other problems cannot mix in."""
    return hashlib.sha256("\n".join(problem.id for problem in problems).encode()).hexdigest()[:12]
