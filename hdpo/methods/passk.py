"""PKPO: rewards are transformed so that their mean estimates pass@k (arXiv:2505.15201).

A cliff gives nothing here either. It tells a changed objective from cliffs that were reached. Differs from the source:
the baseline is this kit's mean of the other rewards. Advantages are not divided by their deviation, which would undo
any transformation of two reward levels.
"""

from typing import TYPE_CHECKING

from hdpo.learning.advantages import group_advantages, pass_at_k_rewards
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from torch import Tensor

    from hdpo.study.study import Study


class PassK(GRPO):
    """GRPO for pass@k."""

    name = "passk"
    named = ("k",)

    k: Count
    normalize_advantages: bool = False

    def advantages(self, rewards: "Tensor") -> "Tensor":
        return group_advantages(pass_at_k_rewards(rewards, self.k), self.baseline, self.normalize_advantages)

    def check(self, study: "Study") -> None:
        super().check(study)
        if self.k > study.train.rollouts_per_prompt:
            raise ValueError("passk: k is larger than train.rollouts_per_prompt")
        if self.normalize_advantages:
            raise ValueError("passk: normalize_advantages would undo the transformation; leave it false")
