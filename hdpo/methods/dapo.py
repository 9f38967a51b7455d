"""DAPO: groups without signal are dropped and other prompts drawn in their place (Yu et al. 2025, arXiv:2503.14476).

Cliffs are not learned from; their tokens are spent and counted. Differs from the source: no shaping of overlong
responses, and a cap on the draws of a step: where it is met, fewer than P groups remain.
"""

from typing import TYPE_CHECKING

import torch

from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count, Positive

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study


class DAPO(GRPO):
    """GRPO with dynamic sampling and a higher upper clip."""

    name = "dapo"
    named = ("max_draws",)

    clip_high: Positive | None = 0.28  # ε of the upper clip
    max_draws: Count = 3  # batches of prompts that a step draws at most

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        advantages = self.advantages(trainer.score(problems, rollouts))  # [P, G]
        wanted, group = advantages.shape
        for _ in range(self.max_draws - 1):
            if int(advantages.any(1).sum()) >= wanted:
                break
            others = trainer.draw()
            more = trainer.sample(others)
            rollouts = rollouts + more
            advantages = torch.cat([advantages, self.advantages(trainer.score(others, more))])
        signal = torch.nonzero(advantages.any(1)).flatten().tolist()[:wanted]
        batch = rollouts.select([i * group + j for i in signal for j in range(group)])
        for learn in trainer.updates():
            learn.policy(self.surrogate, batch, advantages[signal], self.clip)

    def check(self, study: "Study") -> None:
        super().check(study)
        if self.max_draws * study.train.prompts_per_step > study.task.problems.train:
            raise ValueError("dapo: max_draws times train.prompts_per_step is more than task.problems.train")
