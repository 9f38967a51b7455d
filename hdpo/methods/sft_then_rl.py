"""SFT, then RL: the first steps only copy the reference solutions of cliffs, the others are GRPO (arXiv:2604.23747).

Differs from the source: the stage of SFT finds its prompts by sampling, step by step, and its tokens count as any
other's.
"""

from typing import TYPE_CHECKING

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.policy_gradient import cross_entropy
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study


class SFTThenRL(GRPO):
    """Supervised fine-tuning on cliffs first, then GRPO."""

    name = "sft-then-rl"
    named = ("sft_steps",)
    needs_hint = True
    learns_from = "reference"

    sft_steps: Count

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        cliffs = [x for x, fails in zip(problems, cliff_mask(rewards), strict=True) if fails]
        for learn in trainer.updates():
            if trainer.t < self.sft_steps:
                learn.imitate(cross_entropy, trainer.references(cliffs), 1.0)
            else:
                learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)

    def check(self, study: "Study") -> None:
        super().check(study)
        if self.sft_steps >= study.train.steps:
            raise ValueError("sft-then-rl: sft_steps must be smaller than train.steps")
