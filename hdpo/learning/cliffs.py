"""Cliff prompts: every rollout fails, so every advantage is zero and the policy gradient vanishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # like the losses beside it, this needs no import of PyTorch
    from torch import Tensor


def cliff_mask(rewards: Tensor) -> Tensor:
    """The paper's set C: prompts whose rollouts all scored 0, [P] bool, from rewards [P, G] (section 3.2)."""
    return rewards.sum(dim=1) == 0
