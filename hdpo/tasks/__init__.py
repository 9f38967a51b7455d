"""Tasks: the source of problems, the prompts of student and teacher, and what counts as correct."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

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


class Task(ABC):
    """What training and evaluation need of a task. Adding a task means writing this class and its `TaskConfig`."""

    verifier_can_fail: ClassVar[bool] = False  # it has more verdicts than right and wrong; metrics then count them

    @property
    def commit(self) -> str | None:
        """The commit of the hub that its data come from; None if they come from elsewhere."""
        return None

    @abstractmethod
    def problems(self, split: str) -> Sequence[Problem]:
        """The problems of one of `SPLITS`, in an order that never changes."""

    @abstractmethod
    def student_prompt(self, problem: Problem) -> str:
        """x as text."""

    @abstractmethod
    def privileged_prompt(self, problem: Problem) -> str:
        """x ⊕ y* as text."""

    @abstractmethod
    def reward(self, problem: Problem, response: str) -> float:
        """R(x, y) in {0, 1}."""

    def judge(self, problems: Sequence[Problem], responses: Sequence[str]) -> list[Verdict]:
        """The verdict on each response to the problem beside it. Verifiers that can fail override this.

        Raises:
            NotFinite: a reward is neither 0 nor 1.
        """
        rewards = [self.reward(problem, text) for problem, text in zip(problems, responses, strict=True)]
        if odd := [reward for reward in rewards if reward not in (0, 1)]:
            from hdpo.system.finite import NotFinite  # imported here: the verifier's processes do without PyTorch

            raise NotFinite(f"rewards: {len(odd)} of {len(rewards)} neither 0 nor 1 (first: {odd[0]})")
        return [Verdict.CORRECT if reward == 1 else Verdict.WRONG for reward in rewards]

    def is_echo(self, problem: Problem, response: str) -> bool:
        """Whether a response merely repeats y*. The filter R = 1 cannot see that."""
        return response.split() == problem.hint.split()


def problem_set_hash(problems: Sequence[Problem]) -> str:
    """Identifies a list of problems and its order. Results carry it, so that other problems cannot mix in."""
    return hashlib.sha256("\n".join(problem.id for problem in problems).encode()).hexdigest()[:12]
