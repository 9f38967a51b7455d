"""A stand-in for the trainer that notes, in order, what a method's step asks of it."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor


class Recorder:
    """Hands out names in place of problems, rollouts and demonstrations, and the rewards it was given."""

    def __init__(self, rewards: Tensor, updates: int = 1) -> None:
        """`rewards`: [P, G]."""
        self.rewards, self.count = rewards, updates
        self.calls: list[tuple[Any, ...]] = []

    def draw(self) -> list[str]:
        self.calls.append(("draw",))
        return [f"x{i}" for i in range(len(self.rewards))]

    def sample(self, problems: list[str]) -> str:
        self.calls.append(("sample", problems))
        return "rollouts"

    def score(self, problems: list[str], rollouts: str) -> Tensor:
        self.calls.append(("score", problems, rollouts))
        return self.rewards

    def demonstrate(self, problems: list[str], tries: int) -> str:
        self.calls.append(("demonstrate", problems, tries))
        return "demonstrations"

    def updates(self) -> Iterator["Recorder"]:
        for _ in range(self.count):
            self.calls.append(("update",))
            yield self

    def policy(self, loss: Any, rollouts: str, advantages: Tensor, clip: float | None = None) -> None:
        self.calls.append(("policy", loss.__name__, rollouts, advantages.tolist(), clip))

    def distill(self, divergence: Any, demonstrations: str, top_k: int, weight: float) -> None:
        self.calls.append(("distill", divergence.__name__, demonstrations, top_k, weight))
