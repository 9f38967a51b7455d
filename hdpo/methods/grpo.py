"""GRPO, the baseline: group advantages and a clipped surrogate, without a reference KL.

Shao et al. 2024 (arXiv:2402.03300), with the leave-one-out advantages of the paper's base framework (NeMo-RL).
"""

from typing import TYPE_CHECKING, Literal

from hdpo.learning.advantages import group_advantages
from hdpo.learning.policy_gradient import clipped_surrogate, truncated_importance
from hdpo.study.method import Method
from hdpo.study.schema import Positive

if TYPE_CHECKING:
    from torch import Tensor

    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study


class GRPO(Method):
    """Group relative policy optimisation."""

    name = "grpo"

    clip: Positive = 0.2  # ε of the ratio clip
    clip_high: Positive | None = None  # ε of the clip above 1; null: as below it
    importance_cap: Positive | None = None  # C of truncated importance sampling, sampler against trainer; null: none
    baseline: Literal["leave_one_out", "mean"] = "leave_one_out"
    normalize_advantages: bool = True  # divide by the standard deviation of the rewards

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()  # x ~ D, [P]
        rollouts = trainer.sample(problems)  # y_1..y_G ~ π_θ(· | x), [P·G]
        rewards = trainer.score(problems, rollouts)  # R(x, y), [P, G]
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)  # L_GRPO

    def advantages(self, rewards: "Tensor") -> "Tensor":
        """[P, G] from rewards [P, G]. They are all 0 where the rewards are equal, as on a cliff."""
        return group_advantages(rewards, self.baseline, self.normalize_advantages)

    def surrogate(self, logp: "Tensor", old_logp: "Tensor", sampler_logp: "Tensor", advantages: "Tensor") -> "Tensor":
        """The loss of each token, [M]."""
        if self.importance_cap is not None:
            advantages = advantages * truncated_importance(old_logp, sampler_logp, self.importance_cap)
        return clipped_surrogate(logp, old_logp, advantages, self.clip, self.clip_high)

    def check(self, study: "Study") -> None:
        if self.baseline == "leave_one_out" and self.normalize_advantages and study.train.rollouts_per_prompt < 3:
            raise ValueError("train.rollouts_per_prompt must be at least 3: a leave-one-out deviation needs two others")
