"""SFT on cliffs: + λ times the cross-entropy of y* given x, per token. The plainest use of the same information.

ReLIFT (arXiv:2506.07527) interleaves such steps with GRPO. Differs from the source: the term is part of every step,
without a buffer.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.policy_gradient import cross_entropy
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer


class SFT(GRPO):
    """GRPO, and supervised fine-tuning on the reference solutions of cliffs."""

    name = "sft"
    named = ("imitation_weight",)
    needs_hint = True
    learns_from = "reference"

    imitation_weight: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]  # λ
    max_cliffs: Count = 32  # in a step

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        cliffs = [x for x, fails in zip(problems, cliff_mask(rewards), strict=True) if fails]
        references = trainer.references(cliffs[: self.max_cliffs])  # (x, y*)
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
            learn.imitate(cross_entropy, references, self.imitation_weight)
