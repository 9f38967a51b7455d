"""How long the climb from a cliff takes, for trajectories of one token and of several.

A trajectory is correct if each of its T tokens is. The student picks the right token at position t with
probability s_t (its own logit per position), so p = Π s_t; the teacher with probability q, so p_T = q^T.
One prompt, plain gradient steps of size η on position-averaged losses (the 1/T is inside η).

    GRPO   Δ logit_t = η (1/G) Σ_i A_i (1[y_t right] − s_t)
    HDPO   on a cliff, if a privileged rollout is correct:  Δ logit_t = −η λ ∂JSD(q ‖ s_t)/∂logit_t

The JSD slope is ½ s (1 − s) [log m/(1−m) − log s/(1−s)] up to sign, m = (s + q)/2: it falls like s log(1/s).
HDPO's pull therefore depends on the probability of a *token*, GRPO's on that of the whole trajectory.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import binom, sem

from hdpo.theory.cliff import (
    GROUP_SIZE,
    SUCCESSES,
    TEACHER_ROLLOUTS,
    cliff_probability,
    leave_one_out_advantages,
    log_all_fail,
)
from hdpo.theory.divergences import require_count, require_positive
from hdpo.theory.statements import QUANTILE, row

WEIGHTS = {"grpo": 0.0, "hdpo": 0.1}  # the paper's λ


def jsd_pull(token_success: ArrayLike, teacher: float) -> np.ndarray:
    """−∂JSD(Bernoulli(q) ‖ Bernoulli(s))/∂logit(s), elementwise in s = `token_success`; q = `teacher`."""
    right = np.asarray(token_success)
    return 0.5 * right * (1 - right) * (logit((right + teacher) / 2) - logit(right))


def grpo_drift(token_success: float, tokens: int, group_size: int) -> float:
    """E[Δ logit_t]/η for GRPO with equal s at all positions: a sum over the number c of correct rollouts.

    Given c, correct rollouts push by 1 − s each; a failed one by −p(1 − s)/(1 − p) on average.
    """
    success = token_success**tokens
    counts = np.arange(1, group_size)  # c = 0 and c = G give no update
    advantages = leave_one_out_advantages(np.arange(group_size) < counts[:, None])
    push = counts * advantages[:, 0] - (group_size - counts) * advantages[:, -1] * success / (1 - success)
    weights = binom.pmf(counts, group_size, success)
    return float(weights @ push * (1 - token_success) / group_size)


@dataclass(frozen=True)
class Climb:
    """A prompt of T tokens and how it is trained: by GRPO where λ = 0, else by HDPO. Raises UserError for η ≤ 0."""

    tokens: int  # T
    weight: float  # λ
    teacher_success: float = 0.5  # p_T
    teacher_rollouts: int = TEACHER_ROLLOUTS  # G'
    group_size: int = GROUP_SIZE  # G
    step_size: float = 0.25  # η

    def __post_init__(self) -> None:
        require_count("number of tokens T", self.tokens)
        require_positive("step size η", self.step_size)

    def pull(self, token_success: ArrayLike) -> np.ndarray:
        """λ times the JSD's pull on each token's logit, elementwise."""
        return self.weight * jsd_pull(token_success, self.teacher_success ** (1 / self.tokens))

    def time(self, start: float, goal: float = 0.5) -> float:
        """Steps from p = `start` to p = `goal` in the mean-field limit: ∫ d logit(s) / E[Δ logit(s)].

        GRPO's drift, plus P(cliff and some privileged rollout is correct) times the pull. Good where single steps
        are small. Raises UserError unless 0 < start, goal ≤ 1.
        """
        ends = [
            logit(require_positive(name, p, most=1) ** (1 / self.tokens))
            for name, p in (("start", start), ("goal", goal))
        ]
        demonstrated = 1 - cliff_probability(self.teacher_success, self.teacher_rollouts)

        def duration(position: float) -> float:
            right = float(expit(position))
            stuck = cliff_probability(right**self.tokens, self.group_size)
            drift = grpo_drift(right, self.tokens, self.group_size) + demonstrated * stuck * float(self.pull(right))
            return 1 / (self.step_size * drift)

        return quad(duration, *ends, limit=200, epsrel=1e-6)[0]

    def simulate(self, start: float, rng: np.random.Generator, goal: float = 0.5) -> int:
        """Steps one simulated run needs from p = `start` to p = `goal`, sampling every rollout's outcome.

        While GRPO stands on a cliff nothing changes, so its stay there is drawn from the geometric distribution
        at once; HDPO moves there and is stepped one by one.
        """
        logits = np.full(self.tokens, logit(start ** (1 / self.tokens)))
        steps = 0
        while (success := float(np.prod(right := expit(logits)))) < goal:
            leaves_cliff = -np.expm1(log_all_fail(success, self.group_size))  # the chance that some rollout is correct
            steps += 1 if self.weight else int(rng.geometric(leaves_cliff))
            if self.weight and rng.random() >= leaves_cliff:
                if (rng.random(self.teacher_rollouts) < self.teacher_success).any():
                    logits = logits + self.step_size * self.pull(right)
                continue
            group = _group_with_a_success(right, self.group_size, rng)
            advantages = leave_one_out_advantages(np.atleast_2d(group.all(axis=1)))[0]  # [G]
            logits = logits + self.step_size * advantages @ (group - right) / self.group_size
        return steps


def _group_with_a_success(token_success: np.ndarray, group_size: int, rng: np.random.Generator) -> np.ndarray:
    """Which tokens are right [G, T] in a group, drawn given that at least one rollout is right throughout."""
    counts = np.arange(1, group_size + 1)
    weights = binom.pmf(counts, group_size, np.prod(token_success))
    n_correct = int(rng.choice(counts, p=weights / weights.sum()))
    right = rng.random((group_size, token_success.size)) < token_success
    others = right[n_correct:]
    while (correct := np.flatnonzero(others.all(axis=1))).size:  # redraw until the others do fail
        others[correct] = rng.random((correct.size, token_success.size)) < token_success
    right[:n_correct] = True
    return right


def climb_curve() -> pd.DataFrame:
    """Steps from p to 1/2: columns method, tokens, success, formula, simulated.

    `simulated` is one run's steps. It is missing for HDPO's runs of more than 5000 steps, which would be slow.
    """
    rng, rows = np.random.default_rng(21), []
    for method, weight in WEIGHTS.items():
        for climb in (Climb(tokens, weight) for tokens in (1, 8, 32)):
            for p in SUCCESSES:
                formula = climb.time(p)
                run = climb.simulate(p, rng) if not weight or formula <= 5e3 else np.nan
                rows.append((method.upper(), climb.tokens, p, formula, run))
    return pd.DataFrame(rows, columns=["method", "tokens", "success", "formula", "simulated"])


def climb_rows(repetitions: int = 20) -> list[dict]:
    """Steps from p to 1/2: the mean-field formula compared with simulated runs, and their growth as p falls."""
    rng, names, rows = np.random.default_rng(4), {1: "1-token", 8: "8-tokens"}, []
    for method, tokens, start in (("grpo", 1, 1e-3), ("grpo", 8, 1e-6), ("hdpo", 1, 1e-2), ("hdpo", 8, 1e-6)):
        climb = Climb(tokens, WEIGHTS[method])
        ratios = np.array([climb.simulate(start, rng) for _ in range(repetitions)]) / climb.time(start)
        quantity, margin = f"simulated mean over formula, T = {tokens}, p = {start:.0e}", 0.1 + QUANTILE * sem(ratios)
        statement, name = f"climb.{method}.formula", names[tokens]
        rows.append(row(statement, quantity, 1, ratios.mean(), margin, name=name, limits=True))
    for method, tokens, exponent in (("grpo", 1, 1), ("grpo", 8, 1), ("hdpo", 8, 0), ("hdpo", 1, 0)):
        climb = Climb(tokens, WEIGHTS[method])
        quantity, growth = "exponent a of time ~ p^(−a), p = 1e-6 … 1e-5", np.log10(climb.time(1e-6) / climb.time(1e-5))
        rows.append(row(f"climb.{method}.{names[tokens]}", quantity, exponent, growth, 0.1))
    return rows
