"""GRPO as the paper and its base framework define it: leave-one-out advantages and the clipped surrogate."""

import torch
from torch import Tensor

DEVIATION_EPS = 1e-6


def cliff_mask(rewards: Tensor) -> Tensor:
    """The paper's set C: prompts whose rollouts all scored 0, [P] bool, from rewards [P, G] (section 3.2)."""
    return rewards.sum(dim=1) == 0


def group_advantages(rewards: Tensor, baseline: str = "leave_one_out", normalize: bool = True) -> Tensor:
    """Advantages A_i = (r_i − b_i) / (std_i + 1e-6), [P, G], from rewards [P, G].

    `leave_one_out` (base framework): b_i is the mean of the *other* G−1 rewards and std_i their deviation, with
    the framework's factor (G−1)/(G−2); where std_i is 0 the difference stays undivided. `mean`: the group's own
    mean and unbiased deviation (GRPO, arXiv:2402.03300).
    """
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
    deviation = torch.where(variance > 1e-12, variance, 0).sqrt()  # below this, only rounding is left
    return torch.where(deviation > 0, difference / (deviation + DEVIATION_EPS), difference)


def clipped_surrogate(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """−Σ_t min(ρ_t A_t, clip(ρ_t, 1−ε, 1+ε) A_t), a sum over tokens; ρ_t = π_θ/π_old. All inputs [M].

    The caller divides by the token count of the whole step (token-level loss). No reference KL (paper: β = 0).
    """
    ratio = (logp - old_logp).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).sum()


def truncated_importance(old_logp: Tensor, sampler_logp: Tensor, cap: float) -> Tensor:
    """min(π_old / π_sampler, C) per token, [M], without gradient: what the loss of each token is multiplied by.

    Rollouts come from the sampler's probabilities, which another engine or number format makes differ from the
    trainer's π_old: the policy that is trained is not quite the one that acted. Truncated importance sampling corrects
    that with bounded variance (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
    training"). A weight is not negative, so it may multiply the advantage instead, inside the surrogate's minimum.
    """
    return (old_logp - sampler_logp).exp().clamp_max(cap).detach()
