"""Rows of the theory table on the cliff: GRPO's zero update, and how long either method stays there."""

from typing import Any

import numpy as np
from scipy import stats

from hdpo.theory import cliff, escape
from hdpo.theory.bandit import condition_on_success, example_bandit
from hdpo.theory.divergences import log_softmax
from hdpo.theory.statements import ERROR_RATE, EXACT, row

GROUP_SIZE = 16  # the paper's G
TEACHER_ROLLOUTS = 4  # the paper states neither this G' nor the p_T below
TEACHERS: dict[str, dict[str, Any]] = {
    "GRPO": {},
    "HDPO": {"teacher_success": 0.3, "teacher_rollouts": TEACHER_ROLLOUTS},
}
SUCCESSES = 10.0 ** -np.arange(1, 7)
# The climb, see escape.py: step size η, the paper's λ, and a teacher that is right half of the time.
STEP_SIZE, DISTILL_WEIGHT, CHAIN_TEACHER_SUCCESS, GOAL = 0.25, 0.1, 0.5, 0.5


def climb_settings(method: str, tokens: int) -> dict[str, Any]:
    """Keyword arguments of `escape.climb_time` and `escape.simulate_climb` for one method and length T."""
    settings: dict[str, Any] = {"step_size": STEP_SIZE, "group_size": GROUP_SIZE}
    if method == "hdpo":
        teacher = CHAIN_TEACHER_SUCCESS ** (1 / tokens)
        settings |= {"weight": DISTILL_WEIGHT, "teacher": teacher, "teacher_rollouts": TEACHER_ROLLOUTS}
    return settings


def gradient_rows() -> list[dict]:
    """P(all rollouts fail), and the exact expected updates there."""
    logp, reward = log_softmax(np.array([0.3, -0.2, 0.5])), np.array([1.0, 0.0, 0.0])
    parts = cliff.expected_update(logp, reward, group_size=5)
    formula = cliff.cliff_probability(float(np.exp(logp[0])), 5)
    bandit = example_bandit()
    student, teacher = bandit.student_logp(), bandit.teacher_logp([2.0, 0.0])
    teachers = {"unfiltered": teacher, "filtered": condition_on_success(teacher, bandit.reward)}
    pulls = {name: np.abs(cliff.distillation_update(student, logp)).max() for name, logp in teachers.items()}
    enumerated, on_cliffs = parts["cliff probability"] / formula, np.abs(parts["on cliffs"]).max()
    off = np.abs(parts["whole"]).max()
    grpo, hdpo = "cliff.grpo", "cliff.distillation"
    return [
        row("cliff.probability", "enumerated over formula, G = 5", 1, enumerated, EXACT),
        row(grpo, "largest entry of E[update; cliff], all 3^5 groups", 0, on_cliffs, 0, name="on"),
        row(grpo, "the same off the cliff", 0.01, off, 0, "at least", name="off"),
        *(
            row(hdpo, f"largest entry, {name} teacher", 1e-6, pull, 0, "at least", name=name)
            for name, pull in pulls.items()
        ),
    ]


def waiting_rows(repetitions: int = 400) -> list[dict]:
    """Steps to the first non-zero update: simulated step by step, compared with the mean of the geometric wait."""
    rng = np.random.default_rng(3)
    rows = []
    for (method, teacher), block in zip(TEACHERS.items(), (4096, 64), strict=True):
        for success in SUCCESSES:
            expected = cliff.expected_wait(success, GROUP_SIZE, **teacher)
            waits = cliff.simulated_waits(success, GROUP_SIZE, repetitions, rng, block=block, **teacher)
            spread = np.sqrt(expected * (expected - 1))  # of one geometric wait
            margin = stats.norm.ppf(1 - ERROR_RATE / 2) * spread / np.sqrt(repetitions)
            quantity = f"mean of {repetitions} runs, p = {success:.0e}, G = {GROUP_SIZE}"
            statement, name = f"wait.{method.lower()}", f"p-{success:.0e}"
            rows.append(row(statement, quantity, expected, waits.mean(), margin, name=name))
    return rows


def climb_rows(repetitions: int = 20) -> list[dict]:
    """Steps from p to 1/2: the mean-field formula compared with simulated runs, and their growth as p falls."""
    rng, names, rows = np.random.default_rng(4), {1: "1-token", 8: "8-tokens"}, []
    for method, tokens, start in (("grpo", 1, 1e-3), ("grpo", 8, 1e-6), ("hdpo", 1, 1e-2), ("hdpo", 8, 1e-6)):
        settings = climb_settings(method, tokens)
        formula = escape.climb_time(method, start, GOAL, tokens, **settings)
        runs = [escape.simulate_climb(method, start, GOAL, tokens, rng, **settings) for _ in range(repetitions)]
        margin = 0.1 + stats.norm.ppf(1 - ERROR_RATE / 2) * stats.sem(runs) / formula
        quantity = f"simulated mean over formula, T = {tokens}, p = {start:.0e}"
        ratio = np.mean(runs) / formula
        rows.append(row(f"climb.{method}.formula", quantity, 1, ratio, margin, name=names[tokens], limits=True))
    for method, tokens, exponent in (("grpo", 1, 1), ("grpo", 8, 1), ("hdpo", 8, 0), ("hdpo", 1, 0)):
        times = [escape.climb_time(method, p, GOAL, tokens, **climb_settings(method, tokens)) for p in (1e-6, 1e-5)]
        quantity = "exponent a of time ~ p^(−a), p = 1e-6 … 1e-5"
        rows.append(row(f"climb.{method}.{names[tokens]}", quantity, exponent, np.log10(times[0] / times[1]), 0.1))
    return rows


def rows() -> list[dict]:
    """All rows of this file."""
    return [*gradient_rows(), *waiting_rows(), *climb_rows()]
