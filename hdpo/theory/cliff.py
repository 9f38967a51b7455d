"""The cliff: a prompt on which all G rollouts score 0, so that GRPO's update is exactly zero.

    P(cliff) = (1 − p)^G            expected steps to GRPO's first non-zero update: 1 / (1 − (1 − p)^G)

HDPO adds G' privileged rollouts on a cliff, each correct with probability p_T, and moves as soon as one of
either kind is correct (paper sections 3.1 and 3.2). G is `group_size`, G' `teacher_rollouts`.
"""

from itertools import product

import numpy as np
import torch
from scipy.special import xlog1py

from hdpo.learning.advantages import group_advantages
from hdpo.theory.bandit import success_probability
from hdpo.theory.distillation import divergence_and_gradient
from hdpo.theory.divergences import log_softmax
from hdpo.theory.validate import require_count, require_logp, require_probability, require_reward


def log_all_fail(success: float, rollouts: int) -> float:
    """log (1 − p)^G, accurate for tiny p. Raises UserError unless 0 < p ≤ 1 and G ≥ 1."""
    require_probability("success probability p", success)
    return require_count("group size G", rollouts) * float(xlog1py(1.0, -success))


def cliff_probability(success: float, group_size: int) -> float:
    """(1 − p)^G. Raises UserError unless 0 < p ≤ 1 and G ≥ 1."""
    return float(np.exp(log_all_fail(success, group_size)))


def leave_one_out_advantages(rewards: np.ndarray) -> np.ndarray:
    """The trainer's own advantages [P, G] of rewards [P, G], in float64. Raises UserError for G < 3."""
    require_count("group size G", rewards.shape[-1], least=3)
    return group_advantages(torch.as_tensor(rewards, dtype=torch.float64)).numpy()


def group_update(logp: np.ndarray, reward: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """GRPO's ascent direction in the logits, (1/G) Σ_i A_i (onehot(y_i) − π) [A], for sampled `arms` [G]."""
    advantages = leave_one_out_advantages(reward[arms][None])[0]  # [G]
    return advantages @ (np.eye(logp.size)[arms] - np.exp(logp)) / arms.size


def expected_update(logp: np.ndarray, reward: np.ndarray, group_size: int) -> dict[str, np.ndarray]:
    """E[GRPO update] by enumerating all A^G groups: the part from cliffs, the whole, and P(cliff).

    Meant for small A and G. Raises UserError on a policy that is not normalised or a reward not binary.
    """
    logp = require_logp("policy", logp)
    reward = require_reward("reward R", reward, logp.size)
    groups = np.array(list(product(range(logp.size), repeat=group_size)))
    weights, on_cliff = np.exp(logp[groups].sum(axis=1)), reward[groups].sum(axis=1) == 0
    updates = weights[:, None] * np.array([group_update(logp, reward, arms) for arms in groups])
    return {
        "on cliffs": updates[on_cliff].sum(axis=0),
        "whole": updates.sum(axis=0),
        "cliff probability": weights[on_cliff].sum(),
    }


def distillation_update(logp: np.ndarray, teacher_logp: np.ndarray) -> np.ndarray:
    """−∇ of the JSD to the teacher in the student's logits [A]: what HDPO adds on a cliff, per λ."""
    return -divergence_and_gradient("JSD", teacher_logp, logp)[1]


def expected_wait(
    success: float, group_size: int, teacher_success: float | None = None, teacher_rollouts: int = 0
) -> float:
    """Expected steps up to and including the first non-zero update; HDPO's if a teacher is given.

    This is exact: the policy does not move before that update, so the wait is geometric.
    """
    log_stuck = log_all_fail(success, group_size)
    if teacher_success is not None:
        log_stuck += log_all_fail(teacher_success, teacher_rollouts)
    return float(-1.0 / np.expm1(log_stuck))


def simulated_waits(
    success: float,
    group_size: int,
    repetitions: int,
    rng: np.random.Generator,
    teacher_success: float | None = None,
    teacher_rollouts: int = 0,
    block: int = 4096,
) -> np.ndarray:
    """Waits [repetitions], simulated step by step: draw each group's successes until there is one."""

    rollouts = [(group_size, success)] + ([] if teacher_success is None else [(teacher_rollouts, teacher_success)])
    waits = np.zeros(repetitions, dtype=np.int64)
    for repetition in range(repetitions):
        while not (moved := np.any([rng.binomial(n, p, size=block) > 0 for n, p in rollouts], axis=0)).any():
            waits[repetition] += block
        waits[repetition] += int(moved.argmax()) + 1
    return waits


def success_after(logp: np.ndarray, update: np.ndarray, reward: np.ndarray, step_size: float) -> float:
    """P(R = 1) after one step of `step_size` along `update` [A] in the logits."""
    return success_probability(log_softmax(logp + step_size * update), reward)
