"""GRPO with a pull to the base model: + β · KL(π_θ ‖ π_ref) on the rollouts (Shao et al. 2024, arXiv:2402.03300).

On a cliff only the pull acts. It is the control for the reading that HDPO regularises and teaches nothing. Differs
from the source: the divergence is summed over the vocabulary, where the source estimates it from the drawn token, and
the student reads the rollouts once more for it.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hdpo.learning.kl import reverse_kl
from hdpo.learning.teacher import Pairs
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer


class GRPOKL(GRPO):
    """Group relative policy optimisation with a reference KL."""

    name = "grpo-kl"
    named = ("kl_weight",)

    kl_weight: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]  # β
    top_k: Count = 1_000_000  # tokens of the reference that the sum runs over; more than the vocabulary: all

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        same = Pairs(rollouts.sequences, rollouts.sequences)  # student and reference see the same prompt
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
            learn.distill(reverse_kl, same, self.top_k, self.kl_weight, name="kl")

    @property
    def teacher_kind(self) -> Literal["frozen"]:
        return "frozen"  # the reference
