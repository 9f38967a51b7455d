"""A stand-in for the trainer that notes, in order, what a method's step asks of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from hdpo.tasks import Problem


@dataclass(frozen=True)
class Drawn:
    """Rollouts by name, one token each: `x1.0` is the first of problem x1, `x1!0` the first with its hint in sight."""

    names: tuple[str, ...]

    def __add__(self, other: "Drawn") -> "Drawn":
        return Drawn(self.names + other.names)

    def select(self, rows: list[int]) -> "Drawn":
        return Drawn(tuple(self.names[i] for i in rows))

    @property
    def sequences(self) -> "Drawn":
        return self

    @property
    def lengths(self) -> Tensor:
        return torch.ones(len(self.names), dtype=torch.long)

    @property
    def logp(self) -> Tensor:
        return torch.zeros(len(self.names))

    entropy = logp


@dataclass(frozen=True)
class Shown:
    """Demonstrations by the problems that have one."""

    ids: tuple[str, ...]

    @property
    def student(self) -> tuple[str, ...]:
        return ("student", *self.ids)


def drawn(*ids: str, group: int) -> Drawn:
    """The first `group` rollouts of each problem."""
    return Drawn(tuple(f"{name}.{j}" for name in ids for j in range(group)))


def named(name: str) -> Problem:
    return Problem(id=name, question=f"{name}?", hint=f"{name}*", difficulty=2)


class Recorder:
    """Hands out problems and rollouts by name, and the rewards that it was given."""

    def __init__(self, *rewards: Tensor, updates: int = 1, unsolved: tuple[str, ...] = ()) -> None:
        """Make a recorder.

        Args:
            rewards: of each call of `score`, [P, G].
            unsolved: problems for which the teacher finds no correct demonstration.
        """
        self.rewards, self.kept = iter(rewards), [(given, given.clone()) for given in rewards]
        self.group, self.prompts = rewards[0].shape[1], len(rewards[0])
        self.count, self.unsolved = updates, unsolved
        self.drawn: Counter[str] = Counter()
        self.draws, self.t = 0, 0
        self.memory: dict[str, Any] = {}
        self.problems = [named(f"{letter}{i}") for letter in "xyz" for i in range(self.prompts)]
        self.task = SimpleNamespace(
            student_prompt=lambda x: x.question, privileged_prompt=lambda x: x.question + x.hint
        )
        self.calls: list[tuple[Any, ...]] = []

    def draw(self) -> list[Problem]:
        """x0, x1, …; a further call gives y0, y1, …"""
        self.calls.append(("draw",))
        self.draws += 1
        return self.problems[(self.draws - 1) * self.prompts : self.draws * self.prompts]

    def sample(self, problems: list[Problem], count: int | None = None, hinted: bool = False) -> Drawn:
        self.calls.append(("sample", ids(problems), *(() if count is None else (count,)), *(("hinted",) * hinted)))
        mark, names = "!" if hinted else ".", []
        for name in ids(problems):
            for _ in range(self.group if count is None else count):
                names.append(f"{name}{mark}{self.drawn[name + mark]}")
                self.drawn[name + mark] += 1
        return Drawn(tuple(names))

    def score(self, problems: list[Problem], rollouts: Drawn) -> Tensor:
        self.calls.append(("score", ids(problems), rollouts))
        return next(self.rewards)

    def demonstrate(self, problems: list[Problem], tries: int, *others: Any) -> Shown:
        self.calls.append(("demonstrate", ids(problems), tries, *others))
        return Shown(tuple(name for name in ids(problems) if name not in self.unsolved))

    def references(self, problems: list[Problem]) -> tuple[str, ...]:
        self.calls.append(("references", ids(problems)))
        return tuple(problem.hint for problem in problems)

    def hinted(self, problems: list[Problem], plain: Drawn) -> Shown:
        self.calls.append(("hinted", ids(problems), plain))
        return Shown(tuple(ids(problems)))

    def updates(self) -> Iterator["Recorder"]:
        assert all(torch.equal(given, kept) for given, kept in self.kept), "the step has changed the rewards"
        for _ in range(self.count):
            self.calls.append(("update",))
            yield self

    def policy(self, loss: Any, rollouts: Drawn, advantages: Tensor, clip: float | None = None) -> None:
        self.calls.append(("policy", loss.__name__, rollouts, advantages.tolist(), clip))

    def distill(self, divergence: Any, pairs: Any, top_k: int, weight: float, **named: str) -> None:
        self.calls.append(("distill", divergence.__name__, pairs, top_k, weight, *named.values()))

    def imitate(self, loss: Any, sequences: Any, weight: float, *others: Any, **named: str) -> None:
        self.calls.append(("imitate", loss.__name__, sequences, weight, *others, *named.values()))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """What calls of one name were given."""
        return [call[1:] for call in self.calls if call[0] == name]


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]
