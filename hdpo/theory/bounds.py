"""Lemma 1 and Proposition 1: how far apart two softmaxes are, given how far apart their logits are.

    Lemma 1            KL(softmax(z) ‖ softmax(z + δ)) ≤ ‖δ‖∞² / 2
    sharper            KL(softmax(z) ‖ softmax(z + δ)) ≤ (max δ − min δ)² / 8       (Hoeffding's lemma)
    Proposition 1(i)   same model θ:     KL(P_T ‖ P_S) ≤ ‖f_θ(c_T) − f_θ(c_S)‖∞² / 2 ≤ L² Δ² / 2
    Proposition 1(ii)  teacher model φ:  KL(P_T ‖ P_S) ≤ (LΔ + ‖f_φ(c_T) − f_θ(c_T)‖∞)² / 2

Everything is a function of logit arrays [..., V], so it applies to a bandit and to a language model alike.
Logits may be float32; they are widened to float64 first.
"""

import numpy as np
from scipy.optimize import minimize

from hdpo.theory.divergences import kl_between_logits, log_softmax
from hdpo.theory.validate import require_logit_pair, require_positive


def max_bound(teacher_logits: np.ndarray, student_logits: np.ndarray) -> np.ndarray:
    """Lemma 1's bound ‖δ‖∞²/2 [...]."""
    teacher, student = require_logit_pair(teacher_logits, student_logits)
    return np.abs(student - teacher).max(axis=-1) ** 2 / 2


def range_bound(teacher_logits: np.ndarray, student_logits: np.ndarray) -> np.ndarray:
    """The sharper (max δ − min δ)²/8 [...]; it ignores a shift of all logits, as softmax does."""
    teacher, student = require_logit_pair(teacher_logits, student_logits)
    return np.ptp(student - teacher, axis=-1) ** 2 / 8


def proposition1(
    privileged_logits: np.ndarray, plain_logits: np.ndarray, other_privileged_logits: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Proposition 1's quantities [...] from forward passes that give logits [..., V].

    `privileged_logits` f_θ(c_T) and `plain_logits` f_θ(c_S) come from one model; `other_privileged_logits`
    f_φ(c_T) from another. Keys: `same_kl`, `same_bound` (with the measured ‖f_θ(c_T) − f_θ(c_S)‖∞ for LΔ, the
    smallest value LΔ can have), `same_range_bound`; with another model `cross_kl`, `cross_bound` (part ii)
    and `cross_direct_bound` (Lemma 1 applied to the two logit vectors compared, without the detour).
    """
    same = np.abs(np.asarray(privileged_logits, float) - plain_logits).max(axis=-1)
    quantities = {
        "same_kl": kl_between_logits(privileged_logits, plain_logits),
        "same_bound": max_bound(privileged_logits, plain_logits),
        "same_range_bound": range_bound(privileged_logits, plain_logits),
    }
    if other_privileged_logits is not None:
        detour = np.abs(np.asarray(other_privileged_logits, float) - privileged_logits).max(axis=-1)
        quantities["cross_kl"] = kl_between_logits(other_privileged_logits, plain_logits)
        quantities["cross_bound"] = (same + detour) ** 2 / 2
        quantities["cross_direct_bound"] = max_bound(other_privileged_logits, plain_logits)
    return quantities


def largest_kl(logit_range: float) -> tuple[float, float]:
    """sup of KL over all z and all δ with max δ − min δ = `logit_range` r, and the mass m that attains it.

    Two points suffice: δ is r on mass m and 0 elsewhere, KL = log(1 − m + m e^r) − m r, whose maximum is at
    m = 1/r − 1/(e^r − 1). Raises UserError unless r > 0.
    """
    require_positive("logit range r", logit_range)
    mass = 1 / logit_range - 1 / np.expm1(logit_range) if logit_range > 1e-2 else 0.5 - logit_range / 12
    logits = np.array([np.log1p(-mass), np.log(mass)])
    return float(kl_between_logits(logits, logits + np.array([0.0, logit_range]))), float(mass)


def adversarial_logits(
    n_arms: int, logit_range: float, rng: np.random.Generator, restarts: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Logits z [V] and shift δ [V], 0 ≤ δ ≤ `logit_range`, found by ascent on the KL from random starts.

    δ is r · (1 + sin u)/2, so that its box is built in. Returns the best pair.
    """

    def unpack(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return point[:n_arms], logit_range * (1 + np.sin(point[n_arms:])) / 2

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        logits, shift = unpack(point)
        logp, logq = log_softmax(logits), log_softmax(logits + shift)
        p, q = np.exp(logp), np.exp(logq)
        value = kl_between_logits(logits, logits + shift)
        by_logits = p * (logp - logq - value) + q - p
        by_shift = (q - p) * logit_range * np.cos(point[n_arms:]) / 2
        return -float(value), -np.concatenate([by_logits, by_shift])

    starts = rng.normal(size=(restarts, 2 * n_arms))
    found = [minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-12}) for start in starts]
    return unpack(min(found, key=lambda result: result.fun).x)


def zero_gap_teacher(weights: np.ndarray, plain: np.ndarray, privileged: np.ndarray) -> np.ndarray:
    """Weights W_φ [V, D] of another linear model with f_φ(c_T) = f_θ(c_S): the counter-example.

    Given f(c) = W c, the plain features c_S and privileged features c_T, both [D]: a rank-one change of W_θ
    makes φ say on c_T what θ says on c_S. Its gap to the student is 0, yet its bound (ii) is the larger one.
    """
    privileged = np.asarray(privileged, float)
    gap = weights @ (np.asarray(plain, float) - privileged)
    return weights + np.outer(gap, privileged) / (privileged @ privileged)


def linear_model_lipschitz(weights: np.ndarray) -> np.ndarray:
    """The smallest L [...] with ‖W a − W b‖∞ ≤ L ‖a − b‖₂ for all a, b: the longest row of W [..., V, D]."""
    return np.linalg.norm(weights, axis=-1).max(axis=-1)
