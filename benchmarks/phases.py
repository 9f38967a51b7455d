"""The phases of a training step, each callable again and again on the same data."""

from typing import Any

import torch
from torch import Tensor

from hdpo.learning.metrics import StepLog
from hdpo.learning.teacher import NO_DEMONSTRATIONS, Demonstrations
from hdpo.learning.trainer import Trainer
from hdpo.sampling.sampler import Rollouts

NO_END = -1  # as the end token's id, which no token has: every response gets the full length


def update(
    trainer: Trainer, rollouts: Rollouts, advantages: Tensor, demonstrations: Demonstrations = NO_DEMONSTRATIONS
) -> dict[str, Any]:
    """Take the optimiser steps of one batch made by hand; returns losses, norms and ratios.

    Advantages are of each rollout, [P, G] or [N]. Given as [N], equal rollouts are not taken together.
    """
    trainer.log, method = StepLog(), trainer.method
    advantages = advantages if advantages.dim() == 2 else advantages[:, None]
    for learn in trainer.updates():
        learn.policy(method.surrogate, rollouts, advantages, method.clip)
        if method.name == "hdpo":
            learn.distill(method.divergence, demonstrations, method.top_k, method.distill_weight)
    return trainer.log.updated


class Phases:
    """One step of `trainer`, whole and in parts."""

    def __init__(self, trainer: Trainer, step: int = 0) -> None:
        self.trainer = trainer
        self.records: list[dict[str, Any]] = []  # of the whole steps taken
        trainer.t = step
        self.problems = trainer.draw()  # [P]
        self.rollouts = self.sample()
        rewards = trainer.scorer.judge(self.problems, self.rollouts.sequences.completions).rewards
        self.advantages: Tensor = trainer.method.advantages(rewards)  # [P, G]

    def sample(self) -> Rollouts:
        """The same rollouts each time."""
        self.trainer.log = StepLog()
        return self.trainer.sample(self.problems)

    def update(self) -> None:
        update(self.trainer, self.rollouts, self.advantages)

    def idle_update(self) -> None:
        """An update without signal: gradient norm and optimiser, no pass through the network."""
        update(self.trainer, self.rollouts, torch.zeros_like(self.advantages))

    def step(self) -> None:
        self.records.append(self.trainer.step(self.trainer.t))
