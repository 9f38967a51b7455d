"""HDPO, the paper's Algorithm 1 (arXiv:2603.23871): GRPO, and a distillation term on cliff prompts.

L_HDPO(θ) = L_GRPO(θ) + λ · L_JSD(θ)
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.jsd import jsd_k
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from torch import Tensor

    from hdpo.learning.trainer import Trainer


class HDPO(GRPO):
    """Hybrid distillation policy optimisation. With λ = 0 it is GRPO, bit for bit, and no teacher is loaded."""

    name = "hdpo"
    named = ("teacher", "distill_weight")
    learns_from = "hinted rollouts"

    teacher: Literal["drifting", "frozen"] = "drifting"  # the current weights, or the initial ones
    distill_weight: Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]  # λ
    top_k: Count = 64  # K: teacher logits kept; the vocabulary's size or more means the full divergence
    tail: Literal["exact", "paper"] = "exact"  # ½·P_rest·ln 2, or P_rest·ln 2 as printed
    privileged_rollouts: Count = 4  # for each cliff prompt; the paper does not state it
    max_cliffs: Count = 32  # in a step

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()  # x ~ D, [P]
        rollouts = trainer.sample(problems)  # y_1..y_G ~ π_θ(· | x), [P·G]
        rewards = trainer.score(problems, rollouts)  # R(x, y), [P, G]
        cliffs = [x for x, fails in zip(problems, cliff_mask(rewards), strict=True) if fails]  # C
        # T: ȳ ~ π_T(· | x ⊕ y*), kept if R(x, ȳ) = 1
        demonstrations = trainer.demonstrate(cliffs[: self.max_cliffs], self.privileged_rollouts)
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)  # L_GRPO
            learn.distill(self.divergence, demonstrations, self.top_k, self.distill_weight)  # + λ · L_JSD

    def divergence(self, student_logits: "Tensor", teacher_logp: "Tensor", teacher_tokens: "Tensor") -> "Tensor":
        """JSD_k(π_T(· | x ⊕ y*, ȳ_<t) ‖ π_θ(· | x, ȳ_<t)) of each token, [M]."""
        return jsd_k(student_logits, teacher_logp, teacher_tokens, self.tail)

    @property
    def teacher_kind(self) -> Literal["drifting", "frozen"] | None:
        return self.teacher if self.distill_weight > 0 else None

    @property
    def privileged_draw(self) -> tuple[int, int]:
        return (self.max_cliffs, self.privileged_rollouts) if self.distill_weight > 0 else (0, 0)
