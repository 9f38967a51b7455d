"""LUFFY: on a cliff, y* takes the place of one failed rollout, with reward 1 (arXiv:2504.14945).

Its tokens are weighted by π / (π + γ), the shaped ratio to a writer of probability 1, and are not clipped. Differs from
the source: only cliffs are guided, and the sum is divided by the tokens of all rollouts, the replaced ones among them.
"""

from typing import TYPE_CHECKING

import torch

from hdpo.learning.cliffs import cliff_mask
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from hdpo.learning.trainer import Trainer


class LUFFY(GRPO):
    """GRPO with off-policy guidance by reference solutions."""

    name = "luffy"
    named = ("shaping",)
    needs_hint = True
    learns_from = "reference"

    shaping: Positive = 0.1  # γ
    max_cliffs: Count = 32  # in a step

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts).clone()
        guided = torch.nonzero(cliff_mask(rewards)).flatten().tolist()[: self.max_cliffs]
        rewards[guided, -1] = 1  # y* stands where the last rollout did
        advantages = self.advantages(rewards)
        of_reference = float(advantages[guided[0], -1]) if guided else 0.0  # the same in every such group
        advantages[guided, -1] = 0
        references, n_tokens = trainer.references([problems[i] for i in guided]), max(1, len(rollouts.logp))
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, advantages, self.clip)
            learn.imitate(self.guidance, references, of_reference, n_tokens, name="guidance")

    def guidance(self, logp: "Tensor") -> "Tensor":
        """−π / (π + γ) of each token, [M]."""
        return -logp.exp() / (logp.exp() + self.shaping)
