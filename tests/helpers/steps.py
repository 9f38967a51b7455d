"""One update of the weights from a batch made by hand, as a method's step makes it."""

from typing import Any

from torch import Tensor

from hdpo.learning.metrics import StepLog
from hdpo.learning.teacher import NO_DEMONSTRATIONS, Demonstrations
from hdpo.learning.trainer import Trainer
from hdpo.sampling.sampler import Rollouts


def update(
    trainer: Trainer, rollouts: Rollouts, advantages: Tensor, demonstrations: Demonstrations = NO_DEMONSTRATIONS
) -> dict[str, Any]:
    """Take the optimiser steps of one batch; returns losses, norms and ratios.

    Advantages are of each rollout, [P, G] or [N]. Given as [N], equal rollouts are not taken together.
    """
    trainer.log, method = StepLog(), trainer.method
    advantages = advantages if advantages.dim() == 2 else advantages[:, None]
    for learn in trainer.updates():
        learn.policy(method.surrogate, rollouts, advantages, method.clip)
        if method.name == "hdpo":
            learn.distill(method.divergence, demonstrations, method.top_k, method.distill_weight)
    return trainer.log.updated
