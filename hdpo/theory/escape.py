"""How long the climb from a cliff takes, for trajectories of one token and of several.

A trajectory is correct if each of its T tokens is. The student picks the right token at position t with
probability s_t (its own logit per position), so p = Π s_t; the teacher with probability q, so p_T = q^T.
One prompt, plain gradient steps of `step_size` η on position-averaged losses (the 1/T is inside η).

    GRPO   Δ logit_t = η (1/G) Σ_i A_i (1[y_t right] − s_t)
    HDPO   on a cliff, if a privileged rollout is correct:  Δ logit_t = −η λ ∂JSD(q ‖ s_t)/∂logit_t

The JSD slope is ½ s (1 − s) [log m/(1−m) − log s/(1−s)] up to sign, m = (s + q)/2: it falls like s log(1/s).
HDPO's pull therefore depends on the probability of a *token*, GRPO's on that of the whole trajectory.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import binom

from hdpo.theory.cliff import cliff_probability, leave_one_out_advantages, log_all_fail
from hdpo.theory.validate import require_count, require_positive, require_probability


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


def climb_time(
    method: str, start: float, goal: float, tokens: int, *, step_size: float, group_size: int, **hdpo: float
) -> float:
    """Steps from p = `start` to p = `goal` in the mean-field limit: ∫ d logit(s) / E[Δ logit(s)].

    `method` "grpo" or "hdpo"; the latter needs `weight` (λ), `teacher` (q) and `teacher_rollouts` (G'), and
    uses GRPO's drift plus P(cliff and some privileged rollout is correct) times the JSD pull.
    Good where single steps are small. Raises UserError unless 0 < start, goal ≤ 1 and η > 0.
    """
    require_positive("step size η", step_size)
    bounds = [logit(require_probability(name, p) ** (1 / tokens)) for name, p in (("start", start), ("goal", goal))]

    def rate(position: float) -> float:
        token_success = float(expit(position))
        drift = grpo_drift(token_success, tokens, group_size)
        if method == "hdpo":
            demonstrated = 1 - cliff_probability(hdpo["teacher"] ** tokens, int(hdpo["teacher_rollouts"]))
            on_cliff = cliff_probability(token_success**tokens, group_size)
            drift += hdpo["weight"] * demonstrated * on_cliff * float(jsd_pull(token_success, hdpo["teacher"]))
        return step_size * drift

    return quad(lambda position: 1 / rate(position), *bounds, limit=200, epsrel=1e-6)[0]


def simulate_climb(
    method: str,
    start: float,
    goal: float,
    tokens: int,
    rng: np.random.Generator,
    *,
    step_size: float,
    group_size: int,
    **hdpo: float,
) -> int:
    """Steps one simulated run needs from p = `start` to p = `goal`, sampling every rollout's outcome.

    While GRPO stands on a cliff nothing changes, so its stay there is drawn from the geometric distribution
    at once; HDPO moves there and is stepped one by one.
    """
    logits = np.full(require_count("number of tokens T", tokens), logit(start ** (1 / tokens)))
    steps = 0
    while (success := float(np.prod(token_success := expit(logits)))) < goal:
        leaves_cliff = -np.expm1(log_all_fail(success, group_size))  # the chance that some rollout is correct
        steps += int(rng.geometric(leaves_cliff)) if method == "grpo" else 1
        if method == "hdpo" and rng.random() >= leaves_cliff:
            if (rng.random(int(hdpo["teacher_rollouts"])) < hdpo["teacher"] ** tokens).any():
                logits = logits + step_size * hdpo["weight"] * jsd_pull(token_success, hdpo["teacher"])
            continue
        right = _group_with_a_success(token_success, group_size, rng)
        advantages = leave_one_out_advantages(np.atleast_2d(right.all(axis=1)))[0]  # [G]
        logits = logits + step_size * advantages @ (right - token_success) / group_size
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
