"""RL-ZVP: groups of equal rewards get advantages from the entropy of their tokens (arXiv:2509.21880).

All failed: A_t = −α (max_s H_s − H_t). All passed: A_t = α H_t. It uses nothing but the rollouts. Differs from the
source: the entropy is that of the sampler's distribution, at the sampling temperature.
"""

from typing import TYPE_CHECKING

import torch

from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Positive

if TYPE_CHECKING:
    from torch import Tensor

    from hdpo.learning.trainer import Trainer
    from hdpo.sampling.sampler import Rollouts


class ZVP(GRPO):
    """GRPO with entropy-guided advantages where the rewards of a group do not differ."""

    name = "zvp"
    named = ("entropy_weight",)

    entropy_weight: Positive  # α

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        advantages = self.of_tokens(rollouts, rewards)  # [M]
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, advantages, self.clip)

    def of_tokens(self, rollouts: "Rollouts", rewards: "Tensor") -> "Tensor":
        """The advantage of each token, [M]; GRPO's where the group has signal."""
        lengths = rollouts.sequences.lengths
        found = self.advantages(rewards).flatten().repeat_interleave(lengths)
        entropy = rollouts.entropy.split(lengths.tolist())
        fails, passes = ((rewards == value).all(1).repeat_interleave(rewards.shape[1]) for value in (0, 1))
        failed = torch.cat([-(part.max() - part) if len(part) else part for part in entropy])
        of_token = [mask.repeat_interleave(lengths) for mask in (fails, passes)]
        found = torch.where(of_token[0], self.entropy_weight * failed, found)
        return torch.where(of_token[1], self.entropy_weight * rollouts.entropy, found)
