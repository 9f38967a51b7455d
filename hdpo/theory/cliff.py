"""The cliff: a prompt on which all G rollouts score 0, so that GRPO's update is exactly zero.

    P(cliff) = (1 − p)^G            expected steps to GRPO's first non-zero update: 1 / (1 − (1 − p)^G)

HDPO adds G' privileged rollouts on a cliff, each correct with probability p_T, and moves as soon as one of
either kind is correct (paper sections 3.1 and 3.2).
"""

from itertools import product

import numpy as np
import pandas as pd
import torch
from scipy.special import xlog1py

from hdpo.learning.advantages import group_advantages
from hdpo.theory.bandit import condition_on_success, example_bandit
from hdpo.theory.distillation import divergence_and_gradient
from hdpo.theory.divergences import log_softmax, require_count, require_logp, require_positive, require_reward
from hdpo.theory.statements import EXACT, QUANTILE, row

GROUP_SIZE = 16  # the paper's G
TEACHER_ROLLOUTS = 4  # the paper states neither this G' nor the p_T below
TEACHERS = {"GRPO": [], "HDPO": [(TEACHER_ROLLOUTS, 0.3)]}  # (G', p_T)
SUCCESSES = 10.0 ** -np.arange(1, 7)


def log_all_fail(success: float, rollouts: int) -> float:
    """log (1 − p)^G, accurate for tiny p. Raises UserError unless 0 < p ≤ 1 and G ≥ 1."""
    require_positive("success probability p", success, most=1)
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
    parts = {"on cliffs": updates[on_cliff].sum(axis=0), "whole": updates.sum(axis=0)}
    return parts | {"cliff probability": weights[on_cliff].sum()}


def distillation_update(logp: np.ndarray, teacher_logp: np.ndarray) -> np.ndarray:
    """−∇ of the JSD to the teacher in the student's logits [A]: what HDPO adds on a cliff, per λ."""
    return -divergence_and_gradient("JSD", teacher_logp, logp)[1]


def expected_wait(*rollouts: tuple[int, float]) -> float:
    """Expected steps up to and including the first non-zero update, from (G, p) and, for HDPO, (G', p_T).

    This is exact: the policy does not move before that update, so the wait is geometric.
    """
    return float(-1.0 / np.expm1(sum(log_all_fail(success, count) for count, success in rollouts)))


def simulated_waits(*rollouts: tuple[int, float], repetitions: int, rng: np.random.Generator, block: int) -> np.ndarray:
    """Waits [repetitions], simulated step by step: draw each group's successes, `block` steps at a time."""
    waits = np.zeros(repetitions, dtype=np.int64)
    for repetition in range(repetitions):
        while not (moved := np.any([rng.binomial(n, p, size=block) > 0 for n, p in rollouts], axis=0)).any():
            waits[repetition] += block
        waits[repetition] += int(moved.argmax()) + 1
    return waits


def wait_curve(repetitions: int = 100, seed: int = 20, blocks: tuple[int, int] = (256, 256)) -> pd.DataFrame:
    """Steps to the first non-zero update: columns method, success, formula, simulated (mean of runs)."""
    rng, rows = np.random.default_rng(seed), []
    for (method, teacher), block in zip(TEACHERS.items(), blocks, strict=True):
        for success in SUCCESSES:
            rollouts = [(GROUP_SIZE, success), *teacher]
            waits = simulated_waits(*rollouts, repetitions=repetitions, rng=rng, block=block)
            rows.append((method, success, expected_wait(*rollouts), waits.mean()))
    return pd.DataFrame(rows, columns=["method", "success", "formula", "simulated"])


def gradient_rows() -> list[dict]:
    """P(all rollouts fail), and the exact expected updates there."""
    logp, reward = log_softmax(np.array([0.3, -0.2, 0.5])), np.array([1.0, 0.0, 0.0])
    parts = expected_update(logp, reward, group_size=5)
    enumerated = parts["cliff probability"] / cliff_probability(float(np.exp(logp[0])), 5)
    on_cliffs, off = np.abs(parts["on cliffs"]).max(), np.abs(parts["whole"]).max()
    rows = [
        row("cliff.probability", "enumerated over formula, G = 5", 1, enumerated, EXACT),
        row("cliff.grpo", "largest entry of E[update; cliff], all 3^5 groups", 0, on_cliffs, 0, name="on"),
        row("cliff.grpo", "the same off the cliff", 0.01, off, 0, "at least", name="off"),
    ]
    bandit = example_bandit()
    teacher = bandit.teacher_logp([2.0, 0.0])
    for name, logp in (("unfiltered", teacher), ("filtered", condition_on_success(teacher, bandit.reward))):
        pull, quantity = (
            np.abs(distillation_update(bandit.student_logp(), logp)).max(),
            f"largest entry, {name} teacher",
        )
        rows.append(row("cliff.distillation", quantity, 1e-6, pull, 0, "at least", name=name))
    return rows


def waiting_rows(repetitions: int = 400) -> list[dict]:
    """Steps to the first non-zero update: simulated step by step, compared with the mean of the geometric wait."""
    rows = []
    for wait in wait_curve(repetitions, seed=3, blocks=(4096, 64)).itertuples():
        spread = np.sqrt(wait.formula * (wait.formula - 1))  # of one geometric wait
        quantity = f"mean of {repetitions} runs, p = {wait.success:.0e}, G = {GROUP_SIZE}"
        statement, margin = f"wait.{wait.method.lower()}", QUANTILE * spread / np.sqrt(repetitions)
        rows.append(row(statement, quantity, wait.formula, wait.simulated, margin, name=f"p-{wait.success:.0e}"))
    return rows
