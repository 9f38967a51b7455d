"""Proposition 2, first half: the optimum of E_π[R] − β KL(π ‖ π_ref), in closed form and by search.

    π*_β(y) ∝ π_ref(y) exp(R(y)/β)        Z = (1 − p) + p e^{1/β}
    TV(π*_β, π_ref(·|R=1)) = (1 − p) / ((1 − p) + p e^{1/β})

(paper section 3.3, Proposition 2; the exponential-tilting optimum is classical, e.g. Peters et al. 2010.)
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, brentq, minimize
from scipy.special import log_expit, logit, logsumexp

from hdpo.system.errors import UserError
from hdpo.theory.bandit import example_bandit, make_bandit, success_probability
from hdpo.theory.divergences import (
    kl_between_logits,
    log_softmax,
    require_logp,
    require_positive,
    require_reward,
    total_variation,
)
from hdpo.theory.statements import EXACT, SEARCH, row

BETAS = 10.0 ** np.arange(-6, 5)  # eleven values over ten decades
INTERIOR_BETAS = [0.2, 1.0, 10.0, 100.0, 1e3, 1e4]  # no optimal probability is tiny


def _require_problem(ref_logp: np.ndarray, reward: np.ndarray, beta: float) -> tuple:
    ref_logp = require_logp("reference policy π_ref", ref_logp)
    return ref_logp, require_reward("reward R", reward, ref_logp.size), require_positive("β", beta)


def optimal_log_policy(ref_logp: np.ndarray, reward: np.ndarray, beta: float) -> np.ndarray:
    """log π*_β [A] for any β > 0, in log space.

    The largest reward is taken off before dividing by β, so that the odds between equally good arms are not
    rounded away next to 1/β. Raises UserError for β ≤ 0, a π_ref that is not normalised, or R not binary.
    """
    ref_logp, reward, beta = _require_problem(ref_logp, reward, beta)
    with np.errstate(over="ignore"):  # β below 1e-308: the tilt of a wrong arm is -inf, as it should be
        return log_softmax(ref_logp + np.divide(reward - reward.max(), beta))


def objective(logp: np.ndarray, ref_logp: np.ndarray, reward: np.ndarray, beta: float) -> float:
    """E_π[R] − β KL(π ‖ π_ref) for policies of full support, accurate where β is large and the KL tiny."""
    return float(np.exp(logp) @ reward - beta * kl_between_logits(logp, ref_logp))


def optimal_value(success: float, beta: float) -> float:
    """The maximum in closed form, with p = `success`: β log Z = 1 + β log(1 − (1 − p)(1 − e^{−1/β})).

    The second form neither overflows for small β nor cancels for large β.
    """
    require_positive("β", beta)
    require_positive("success probability p", success, most=1)
    return float(1 + beta * np.log1p((1 - success) * np.expm1(-1 / beta)))


def log_tv_to_target(success: float, beta: float) -> float:
    """log TV(π*_β, π_ref(·|R=1)) in closed form; it is log((1−p)/p) − 1/β up to a vanishing term."""
    require_positive("β", beta)
    require_positive("success probability p", success, most=1)
    return float(log_expit(-logit(success) - 1.0 / beta))


def gradient_ascent(
    ref_logp: np.ndarray, reward: np.ndarray, beta: float, natural: bool = True, max_steps: int = 200_000
) -> np.ndarray:
    """log π [A] by climbing the objective in the logits from the uniform policy.

    The gradient is π_k (a_k − E_π a) with a_k = R_k − β log(π_k/π_ref,k). `natural=True` preconditions it
    with the inverse Fisher matrix, which cancels the factor π_k (Kakade 2001); the plain gradient needs
    about 1/π_k steps per arm, so it is only practical where no optimal probability is tiny.

    Raises UserError on bad input, or if `max_steps` do not bring the update below 1e-14.
    """
    ref_logp, reward, beta = _require_problem(ref_logp, reward, beta)
    logp = log_softmax(np.zeros_like(ref_logp))
    baseline = reward.max()  # changes no gradient, and keeps 1/β out of the rounding of correct arms
    step_size = (0.5 if natural else 1.0) / beta
    for _ in range(max_steps):
        policy = np.exp(logp)
        gain = (reward - baseline) - beta * (logp - ref_logp)
        centred = gain - policy @ gain
        update = step_size * (centred if natural else policy * centred)
        logp = log_softmax(logp + update)
        if np.max(policy * np.abs(update)) < 1e-14:
            return logp
    raise UserError(f"gradient ascent at β = {beta:g} did not converge in {max_steps} steps; allow more")


def convex_solver(ref_logp: np.ndarray, reward: np.ndarray, beta: float) -> np.ndarray:
    """log π [A] by scipy's interior-point method over the probability simplex; never uses the closed form.

    Good to 1e-8 while no optimal probability is below about 1e-5, i.e. for β of 0.2 and more here.
    """
    ref_logp, reward, beta = _require_problem(ref_logp, reward, beta)
    scale = 1.0 / (1.0 + beta)

    def loss(policy: np.ndarray) -> tuple[float, np.ndarray]:
        change = np.log(policy) - ref_logp
        return -scale * (policy @ reward - beta * policy @ change), -scale * (reward - beta * (change + 1.0))

    policy = np.full(ref_logp.size, 1.0 / ref_logp.size)
    options = {"gtol": 1e-13, "xtol": 1e-16, "barrier_tol": 1e-14, "maxiter": 2000, "initial_tr_radius": 0.1}
    for barrier in 0.1 * 1e3 ** -np.arange(4.0):  # scipy stops a little early; resume with a weaker barrier
        policy = minimize(
            loss,
            policy,
            jac=True,
            hess=lambda policy: np.diag(scale * beta / policy),
            method="trust-constr",
            bounds=Bounds(1e-300, 1.0, keep_feasible=True),
            constraints=LinearConstraint(np.ones((1, ref_logp.size)), 1.0, 1.0),
            options=options | {"initial_barrier_parameter": barrier, "initial_barrier_tolerance": barrier},
        ).x
    return np.log(policy) - np.log(policy.sum())


def dual_solver(ref_logp: np.ndarray, reward: np.ndarray, beta: float) -> np.ndarray:
    """log π [A] from the Lagrange dual, one root in the multiplier ν of Σ π = 1, for any β > 0.

    Stationarity gives log π_k = log π_ref,k + (R_k − ν)/β − 1; Brent's method finds the ν that normalises.
    ν is measured from the largest reward and in units of β, so the root is well scaled at every β.
    """
    ref_logp, reward, beta = _require_problem(ref_logp, reward, beta)
    if not (reward[ref_logp > -np.inf] == 1).any():
        raise UserError("success probability p is 0: no correct arm under π_ref; give one a probability")
    base = ref_logp + (reward - 1.0) / beta  # [A]
    low, high = base.max() - 1.0, base.max() + np.log(base.size) + 1.0
    return base - brentq(lambda multiplier: logsumexp(base - multiplier), low, high, xtol=1e-15)


def limit_curve(successes: tuple[float, ...] = (0.3, 0.03, 0.001)) -> pd.DataFrame:
    """TV(π*_β, target): columns success, inverse_beta, formula, measured (by natural-gradient ascent)."""
    rows = []
    for p in successes:
        bandit = make_bandit(12, 4, p, np.random.default_rng(0))
        for inverse in np.linspace(0.5, 30, 16):
            found = gradient_ascent(bandit.student_logp(), bandit.reward, 1 / inverse)
            measured = total_variation(found, bandit.target_logp())
            rows.append((p, inverse, np.exp(log_tv_to_target(p, 1 / inverse)), measured))
    return pd.DataFrame(rows, columns=["success", "inverse_beta", "formula", "measured"])


def optimum_rows() -> list[dict]:
    """π*_β in closed form, compared with its value, two kinds of gradient ascent and two convex solvers."""
    bandit = example_bandit()
    ref, reward = bandit.student_logp(), bandit.reward
    success, whole = success_probability(ref, reward), "worst of β = 1e-6 … 1e4"
    closed = {b: optimal_log_policy(ref, reward, b) for b in (*BETAS, *INTERIOR_BETAS)}
    off = max(abs(objective(closed[b], ref, reward, b) / optimal_value(success, b) - 1) for b in BETAS)
    rows = [row("prop-2.optimum", f"objective at π*_β over β log Z, {whole}", 1, 1 + off, EXACT, name="value")]
    plain = partial(gradient_ascent, natural=False)
    for name, solver, betas, tolerance, what in (
        ("natural-gradient", gradient_ascent, BETAS, SEARCH, f"natural-gradient ascent, {whole}"),
        ("plain-gradient", plain, [1.0, 10.0], SEARCH, "plain gradient ascent, worst of β = 1, 10"),
        ("interior-point", convex_solver, INTERIOR_BETAS, SEARCH, "an interior-point solver, worst of β = 0.2 … 1e4"),
        ("dual", dual_solver, BETAS, EXACT, f"the root of the Lagrange dual, {whole}"),
    ):
        worst = max(total_variation(solver(ref, reward, b), closed[b]) for b in betas)
        rows.append(row("prop-2.optimum", f"TV to {what}", 0, worst, tolerance, name=name))
    return rows


def limit_rows() -> list[dict]:
    """β → 0+: total variation to π_ref(·|R=1), its rate, and the odds RL keeps on the way."""
    bandit = example_bandit()
    ref, reward, target = bandit.student_logp(), bandit.reward, bandit.target_logp()
    success, correct = success_probability(ref, reward), reward == 1
    log_tv = np.array([log_tv_to_target(success, b) for b in BETAS])
    policies = np.array([optimal_log_policy(ref, reward, b) for b in BETAS])  # [β, A]
    wrong_mass = logsumexp(policies[:, ~correct], axis=1)  # log of the TV, without rounding to 0
    off_log = np.abs(wrong_mass / log_tv - 1).max()
    summable = BETAS >= 0.1  # below, TV is lost in the rounding of the target
    off_tv = np.abs(total_variation(policies[summable], target) / np.exp(log_tv[summable]) - 1).max()
    rate = np.polyfit(1 / BETAS[BETAS <= 1e-2], wrong_mass[BETAS <= 1e-2], 1)[0]
    odds = np.abs(np.expm1(np.diff(policies[:, correct]) - np.diff(ref[correct]))).max()
    summed = "summed TV over (1−p)/((1−p)+p e^{1/β}), worst of β = 0.1 … 1e4"
    teachers = bandit.teacher_logp(np.outer(1 / BETAS, [1, 0]))
    hinted = total_variation(teachers, policies)[summable].max()
    return [
        row("prop-2.limit", summed, 1, 1 + off_tv, EXACT, name="summed"),
        row("prop-2.limit", "log TV over its closed form, worst of β = 1e-6 … 1e4", 1, 1 + off_log, EXACT, name="log"),
        row("prop-2.limit", "slope of log TV against 1/β, β = 1e-6 … 1e-2", -1, rate, EXACT, name="rate"),
        row("prop-2.odds", "largest relative change", 0, odds, EXACT),
        row("prop-2.hint", "TV, worst of β = 0.1 … 1e4", 0, hinted, EXACT, limits=True),
    ]
