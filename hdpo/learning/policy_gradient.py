"""GRPO's loss: the clipped surrogate, and the correction for a sampler that is not quite the trainer's policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def clipped_surrogate(
    logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float, clip_high: float | None = None
) -> Tensor:
    """−min(ρA, clip(ρ, 1−ε, 1+ε)A) of each token, [M], with ρ = π_θ/π_old, from log-probs and advantages [M].

    The caller sums and divides by the token count of the whole step (token-level loss). There is no reference KL
    (paper: β = 0). `clip_high` is the ε above 1, if it is another.
    """
    ratio = (logp - old_logp).exp()
    upper = clip if clip_high is None else clip_high
    return -(ratio * advantages).minimum(ratio.clamp(1 - clip, 1 + upper) * advantages)


def cross_entropy(logp: Tensor) -> Tensor:
    """−log π_θ of each token, [M]: the loss of supervised fine-tuning."""
    return -logp


def truncated_importance(old_logp: Tensor, sampler_logp: Tensor, cap: float) -> Tensor:
    """min(π_old / π_sampler, C) of each token, [M], without gradient: a weight for that token's loss.

    Rollouts come from the sampler's probabilities. Another engine or number format makes these differ from the
    trainer's π_old, so the policy that is trained is not quite the one that acted. Truncated importance sampling
    corrects this with bounded variance (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy
    RL training"). The weight is not negative, so it may multiply the advantage inside the surrogate's minimum.
    """
    return (old_logp - sampler_logp).exp().clamp_max(cap).detach()
