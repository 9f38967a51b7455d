"""What a softmax student converges to when it minimises a divergence to the filtered teacher.

    forward KL   KL(T ‖ S)      the mean-seeking one: imitation of the filtered rollouts
    reverse KL   KL(S ‖ T)      the mode-seeking one; infinite where T is 0 and S is not
    JSD          ½ KL(T ‖ M) + ½ KL(S ‖ M), M = (T + S)/2: the paper's L_JSD (section 3.2)

Student logits are F w, features F [A, D] times weights w [D]. F = identity can express every distribution
with full support, and the filtered teacher (zero on wrong arms) as a limit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from hdpo.system.errors import UserError
from hdpo.theory.bandit import condition_on_success
from hdpo.theory.divergences import jsd, kl, log_softmax
from hdpo.theory.validate import require_logp

DIVERGENCES = ("forward KL", "reverse KL", "JSD")


def divergence_and_gradient(name: str, target_logp: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """The divergence `name` between target T [A] and student softmax(logits), and its logit gradient [A].

    With g_k = ∂D/∂S_k the gradient is S_k (g_k − Σ_j S_j g_j). For forward KL that is S − T.
    Raises UserError for an unknown name, and for reverse KL to a target with a zero, where it is infinite.
    """
    logp = log_softmax(logits)
    student = np.exp(logp)
    if name == "forward KL":
        return float(kl(target_logp, logp)), student - np.exp(target_logp)
    if name == "JSD":
        slope = 0.5 * (logp - np.logaddexp(logp, target_logp) + np.log(2.0))
        return float(jsd(target_logp, logp)), student * (slope - student @ slope)
    if name != "reverse KL":
        raise UserError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {name!r}")
    if np.isneginf(target_logp).any():
        raise UserError(
            "reverse KL to a filtered teacher is infinite for every softmax student: the target must be "
            "positive on every arm (for example π*_β instead of its limit)"
        )
    slope = logp - target_logp
    return float(kl(logp, target_logp)), student * (slope - student @ slope)


def distil(
    target_logp: np.ndarray, name: str, features: np.ndarray | None = None, starts: np.ndarray | None = None
) -> np.ndarray:
    """The student log π_S [A] that minimises the divergence `name`: the best one from each row of `starts` [n, D].

    BFGS with exact gradients, finished by Newton steps. `features` F [A, D] defaults to the identity, `starts` to
    one row of zeros. Raises UserError if `target_logp` is not normalised.
    """
    target_logp = require_logp("teacher", target_logp)
    features = np.eye(target_logp.size) if features is None else features
    starts = np.zeros((1, features.shape[1])) if starts is None else starts

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = divergence_and_gradient(name, target_logp, features @ weights)
        return value, features.T @ gradient

    found = [minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10}).x for start in starts]
    polished = [_polish(lambda weights: loss(weights)[1], weights) for weights in found]
    return log_softmax(features @ min(polished, key=lambda weights: loss(weights)[0]))


def _polish(slope: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Newton steps, kept while the largest entry of the gradient `slope` shrinks: from BFGS's 1e-8 to rounding.

    The Hessian is a central difference of the gradient.
    """
    width = 1e-6
    gradient, offsets = slope(weights), width * np.eye(weights.size)
    for _ in range(20):
        hessian = np.stack([(slope(weights + o) - slope(weights - o)) / (2 * width) for o in offsets])
        trial = weights - np.linalg.lstsq(hessian, gradient, rcond=1e-9)[0]
        trial_gradient = slope(trial)
        if np.abs(trial_gradient).max() >= np.abs(gradient).max():
            break
        weights, gradient = trial, trial_gradient
    return weights


@dataclass(frozen=True)
class LimitedProblem:
    """A target [A] that bell-shaped students with `features` [A, 2] cannot express, and search starts [n, 2]."""

    reward: np.ndarray
    target_logp: np.ndarray
    features: np.ndarray
    starts: np.ndarray


def limited_problem(n_arms: int = 21) -> LimitedProblem:
    """Arms on a line, two separate groups of correct ones: the filtered teacher has two modes.

    A student's features are the position and its square, so its distribution is a bell shape.
    """
    position = np.linspace(-1.0, 1.0, n_arms)
    reward = np.isin(np.arange(n_arms), [4, 5, 15, 16]).astype(np.float64)
    target = condition_on_success(log_softmax(-(position**2)), reward)
    features = np.stack([position, position**2], axis=1)
    return LimitedProblem(reward, target, features, 3 * np.random.default_rng(0).normal(size=(8, 2)))
