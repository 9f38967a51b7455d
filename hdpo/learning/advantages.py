"""Group advantages: how much better a rollout did than the others of its prompt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DEVIATION_EPS = 1e-6


def group_advantages(rewards: Tensor, baseline: str = "leave_one_out", normalize: bool = True) -> Tensor:
    """Advantages A_i = (r_i − b_i) / (std_i + 1e-6), [P, G], from rewards [P, G].

    `leave_one_out` (the paper's base framework): b_i is the mean of the *other* G−1 rewards and std_i their deviation,
    with the framework's factor (G−1)/(G−2). Where std_i is 0 the difference stays undivided. `mean`: the group's own
    mean and unbiased deviation (GRPO, arXiv:2402.03300).
    """
    if baseline not in ("leave_one_out", "mean"):
        raise ValueError(f"baseline: expected leave_one_out or mean, got {baseline!r}")
    group = rewards.shape[1]
    if baseline == "leave_one_out":
        others = rewards.sum(1, keepdim=True) - rewards
        mean = others / (group - 1)
        mean_square = (rewards.square().sum(1, keepdim=True) - rewards.square()) / (group - 1)
    else:
        mean = rewards.mean(1, keepdim=True).expand_as(rewards)
        mean_square = rewards.square().mean(1, keepdim=True).expand_as(rewards)
    difference = rewards - mean
    if not normalize:
        return difference
    count = group - 1 if baseline == "leave_one_out" else group
    variance = (mean_square - mean.square()).clamp_min(0) * count / (count - 1)
    deviation = variance.where(variance > 1e-12, 0).sqrt()  # below this, only rounding is left
    return (difference / (deviation + DEVIATION_EPS)).where(deviation > 0, difference)


def pass_at_k_rewards(rewards: Tensor, k: int) -> Tensor:
    """Rewards r_i for which Σ r_i ∇log π(y_i) estimates ∇pass@k without bias, [P, G], from rewards in {0, 1}.

    With n = G and c successes, a success gets k/n, and a failure (k/n)·ρ with ρ = 1 − C(n−1−c, k−1)/C(n−1, k−1): the
    chance that k − 1 of the others hold a success (PKPO, arXiv:2505.15201).

    Raises:
        ValueError: k is not in 1 … G.
    """
    n = rewards.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k: expected 1 to {n}, the rollouts of a prompt, got {k}")
    return k / n * _worth(rewards, k)


def pass_at_k_advantages(rewards: Tensor, k: int) -> Tensor:
    """Advantages A_i for which (1/n) Σ A_i ∇log π(y_i) estimates ∇pass@k without bias, [P, G], from rewards in {0, 1}.

    A_i = n·r_i − k·ρ_i: `pass_at_k_rewards` r_i, less the pass@k of the n − 1 others, ρ_i = 1 − C(n−1−c_i, k)/C(n−1, k)
    with c_i successes among them. That baseline does not depend on y_i, as the mean of the others' r would through c.
    It is PKPO's leave-one-out baseline up to a factor n/(n−1). k = 1 gives r_i − mean of the others.

    Raises:
        ValueError: k is not in 1 … G − 1.
    """
    n = rewards.shape[1]
    if not 1 <= k < n:
        raise ValueError(f"k: expected 1 to {n - 1}, the other rollouts of a prompt, got {k}")
    others = (rewards.sum(1, keepdim=True) - rewards).long()
    chances = rewards.new_tensor([_pass_at_k(n - 1, c, k) for c in range(n)])
    return k * (_worth(rewards, k) - chances[others])


def _worth(rewards: Tensor, k: int) -> Tensor:
    """1 for a success; for a failure, the chance that k − 1 of the others hold a success, [P, G]."""
    n = rewards.shape[1]
    chances = [_pass_at_k(n - 1, c, k - 1) for c in range(n)]
    failure = rewards.new_tensor([*chances, 1.0])[rewards.sum(1).long()][:, None]  # [P, 1]; with c = n none fails
    return rewards + (1 - rewards) * failure


def _pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that k of n rollouts, c of them right, hold a right one."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)
