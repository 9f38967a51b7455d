"""PKPO: advantages that climb pass@k in place of pass@1 (arXiv:2505.15201).

A cliff gives nothing here either. It tells a changed objective from cliffs that were reached. Differs from the source:
of its two baselines this is leave-one-out, not the one of k − 1 others, and k = 1 is GRPO without division.
"""

from typing import TYPE_CHECKING, Literal

from hdpo.learning.advantages import pass_at_k_advantages
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
    baseline: Literal["leave_one_out"] = "leave_one_out"  # the mean of the group would bias the gradient
    normalize_advantages: Literal[False] = False  # the deviation would undo the transformation of two reward levels

    def advantages(self, rewards: "Tensor") -> "Tensor":
        """[P, G]; all 0 where all fail or all pass."""
        return pass_at_k_advantages(rewards, self.k)

    def check(self, study: "Study") -> None:
        if self.k >= study.train.rollouts_per_prompt:
            raise ValueError("passk: k must be smaller than train.rollouts_per_prompt: its baseline takes k others")
