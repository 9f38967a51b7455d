"""On-policy self-distillation: the teacher's distribution on the student's own failed rollouts.

OPSD (arXiv:2601.18734), SDPO (arXiv:2601.20802) and SDFT (arXiv:2601.19897). It is HDPO's inverse: the student writes,
and the teacher, who sees y*, corrects each token. Differs from the sources: only cliffs are distilled, beside GRPO's
own loss.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.jsd import jsd_k
from hdpo.learning.kl import forward_kl, reverse_kl
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer

DIVERGENCES = {"jsd": jsd_k, "forward": forward_kl, "reverse": reverse_kl}


class OPSD(GRPO):
    """GRPO, and self-distillation on the failed rollouts of cliffs."""

    name = "opsd"
    named = ("divergence", "distill_weight")
    needs_hint = True
    learns_from = "teacher's view"

    teacher: Literal["drifting", "frozen"] = "frozen"
    divergence: Literal["forward", "reverse", "jsd"]  # forward: KL(teacher ‖ student)
    distill_weight: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]  # λ
    top_k: Count = 1_000_000  # more than the vocabulary: the full divergence, as a cut reverse KL has a biased gradient
    rollouts: Count = 4  # failed ones of each cliff
    max_cliffs: Count = 32  # in a step

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)  # [P, G]
        cliffs = torch.nonzero(cliff_mask(rewards)).flatten().tolist()[: self.max_cliffs]
        group = rewards.shape[1]
        rows = [i * group + j for i in cliffs for j in range(min(self.rollouts, group))]
        pairs = trainer.hinted([problems[i] for i in cliffs], rollouts.sequences.select(rows))
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
            learn.distill(DIVERGENCES[self.divergence], pairs, self.top_k, self.distill_weight)

    @property
    def teacher_kind(self) -> Literal["drifting", "frozen"]:
        return self.teacher
