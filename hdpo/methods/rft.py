"""RFT on cliffs: + λ times the cross-entropy of correct privileged rollouts given x.

It is HDPO with a one-hot target in place of the teacher's distribution.
"""

from typing import TYPE_CHECKING

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.policy_gradient import cross_entropy
from hdpo.methods.hdpo import HDPO

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study


class RFT(HDPO):
    """GRPO, and supervised fine-tuning on correct privileged rollouts."""

    name = "rft"

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        cliffs = [x for x, fails in zip(problems, cliff_mask(rewards), strict=True) if fails]
        demonstrations = trainer.demonstrate(cliffs[: self.max_cliffs], self.privileged_rollouts)
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
            learn.imitate(cross_entropy, demonstrations.student, self.distill_weight)

    def check(self, study: "Study") -> None:
        super().check(study)
        if any(getattr(self, key) != HDPO.model_fields[key].default for key in ("top_k", "tail")):
            raise ValueError("rft: top_k and tail belong to a divergence, and it has none; leave them out")
