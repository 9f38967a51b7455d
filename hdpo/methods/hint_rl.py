"""RL with hints: on a cliff, rollouts are drawn with the hint in sight, and GRPO trains the prompt with the hint.

NuRL (arXiv:2509.25666), POPE (arXiv:2601.18779) and BREAD (arXiv:2506.17211) hope that this transfers to the plain
prompt. Differs from the sources: the hint is all of y*, where they show an abstract or a prefix of it.
"""

from typing import TYPE_CHECKING

import torch

from hdpo.learning.cliffs import cliff_mask
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer


class HintRL(GRPO):
    """GRPO that draws all but one rollout of a cliff's group with the hint in sight."""

    name = "hint-rl"
    named = ("max_cliffs",)
    needs_hint = True
    learns_from = "hinted rollouts"

    max_cliffs: Count = 32  # in a step

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts).clone()  # [P, G]
        count, group = rewards.shape
        guided = torch.nonzero(cliff_mask(rewards)).flatten().tolist()[: self.max_cliffs]
        rows = torch.arange(count * group).reshape(count, group)
        if guided:
            cliffs = [problems[i] for i in guided]
            hinted = trainer.sample(cliffs, group - 1, hinted=True)  # y ~ π_θ(· | x ⊕ y*)
            rewards[guided, 1:] = trainer.score(cliffs, hinted)
            rows[guided, 1:] = count * group + torch.arange(len(guided) * (group - 1)).reshape(-1, group - 1)
            rollouts = (rollouts + hinted).select(rows.flatten().tolist())
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
