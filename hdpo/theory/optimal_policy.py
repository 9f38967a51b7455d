"""Proposition 2, first half: the optimum of E_π[R] − β KL(π ‖ π_ref), in closed form and by search.

    π*_β(y) ∝ π_ref(y) exp(R(y)/β)        Z = (1 − p) + p e^{1/β}
    TV(π*_β, π_ref(·|R=1)) = (1 − p) / ((1 − p) + p e^{1/β})

(paper section 3.3, Proposition 2; the exponential-tilting optimum is classical, e.g. Peters et al. 2010.)
"""

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, brentq, minimize
from scipy.special import log_expit, logit, logsumexp

from hdpo.system.errors import UserError
from hdpo.theory.divergences import kl_between_logits, log_softmax
from hdpo.theory.validate import require_logp, require_positive, require_probability, require_reward


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
        tilt = np.divide(reward - reward.max(), beta)
    return log_softmax(ref_logp + tilt)


def objective(logp: np.ndarray, ref_logp: np.ndarray, reward: np.ndarray, beta: float) -> float:
    """E_π[R] − β KL(π ‖ π_ref) for policies of full support, accurate where β is large and the KL tiny."""
    return float(np.exp(logp) @ reward - beta * kl_between_logits(logp, ref_logp))


def optimal_value(success: float, beta: float) -> float:
    """The maximum in closed form: β log Z, with p = `success`, at any β > 0 without overflow."""
    require_positive("β", beta)
    require_probability("success probability p", success)
    if beta > 0.01:
        return float(beta * np.log1p(success * np.expm1(1.0 / beta)))
    return float(1.0 + beta * np.log(success) + beta * np.log1p((1.0 - success) / success * np.exp(-1.0 / beta)))


def log_tv_to_target(success: float, beta: float) -> float:
    """log TV(π*_β, π_ref(·|R=1)) in closed form; it is log((1−p)/p) − 1/β up to a vanishing term."""
    require_positive("β", beta)
    require_probability("success probability p", success)
    return float(log_expit(-logit(success) - 1.0 / beta))


def gradient_ascent(
    ref_logp: np.ndarray, reward: np.ndarray, beta: float, natural: bool = True, max_steps: int = 200_000
) -> tuple[np.ndarray, int]:
    """Climb the objective in the logits from the uniform policy; return (log π [A], steps taken).

    The gradient is π_k (a_k − E_π a) with a_k = R_k − β log(π_k/π_ref,k). `natural=True` preconditions it
    with the inverse Fisher matrix, which cancels the factor π_k (Kakade 2001); the plain gradient needs
    about 1/π_k steps per arm, so it is only practical where no optimal probability is tiny.

    Raises UserError on bad input, or if `max_steps` do not bring the update below 1e-14.
    """
    ref_logp, reward, beta = _require_problem(ref_logp, reward, beta)
    logp = log_softmax(np.zeros_like(ref_logp))
    baseline = reward.max()  # changes no gradient, and keeps 1/β out of the rounding of correct arms
    step_size = (0.5 if natural else 1.0) / beta
    for step in range(1, max_steps + 1):
        policy = np.exp(logp)
        gain = (reward - baseline) - beta * (logp - ref_logp)
        centred = gain - policy @ gain
        update = step_size * (centred if natural else policy * centred)
        logp = log_softmax(logp + update)
        if np.max(policy * np.abs(update)) < 1e-14:
            return logp, step
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
