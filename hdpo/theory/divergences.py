"""Divergences between two distributions given as log-probabilities [..., A], and the checks of arguments.

Divergences sum over the last axis. 0 · log 0 counts as 0, and an infinite divergence is inf, not a large number.
A failed check raises a UserError of one line that names the quantity and the values that are allowed.
"""

from numbers import Real
from sys import float_info

import numpy as np
from scipy.special import hyp1f1, logsumexp, rel_entr

from hdpo.system.errors import UserError

NORMALISATION_TOLERANCE = 1e-9


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities [..., A] of logits [..., A], in float64."""
    logits = np.asarray(logits, dtype=np.float64)
    return logits - logsumexp(logits, axis=-1, keepdims=True)


def kl(logp: np.ndarray, logq: np.ndarray) -> np.ndarray:
    """KL(P ‖ Q) = Σ P (log P − log Q), in nats."""
    return rel_entr(np.exp(logp), np.exp(logq)).sum(axis=-1)


def jsd(logp: np.ndarray, logq: np.ndarray) -> np.ndarray:
    """JSD(P, Q) = ½ KL(P ‖ M) + ½ KL(Q ‖ M), M = (P + Q)/2, in nats; at most ln 2."""
    log_mixture = np.logaddexp(logp, logq) - np.log(2.0)
    return 0.5 * kl(logp, log_mixture) + 0.5 * kl(logq, log_mixture)


def total_variation(logp: np.ndarray, logq: np.ndarray) -> np.ndarray:
    """TV(P, Q) = ½ Σ |P − Q|, between 0 and 1."""
    return 0.5 * np.sum(np.abs(np.exp(logp) - np.exp(logq)), axis=-1)


def kl_between_logits(teacher_logits: np.ndarray, student_logits: np.ndarray) -> np.ndarray:
    """KL(softmax(teacher) ‖ softmax(student)) [...] in nats, accurate however small it is.

    With δ' = student − teacher, centred to mean 0 under the teacher P, it is log E_P[e^δ']. Near 0 that is
    log1p(E_P[e^δ' − 1 − δ']), whose terms are all positive, so nothing cancels.
    """
    teacher, student = require_logit_pair(teacher_logits, student_logits)
    logp = log_softmax(teacher)
    policy = np.exp(logp)
    shift = student - teacher
    shift = shift - np.sum(policy * shift, axis=-1, keepdims=True)
    near = np.clip(shift, -1.0, 1.0)
    small = np.log1p(np.sum(policy * near**2 / 2 * hyp1f1(1, 3, near), axis=-1))  # x²/2 ₁F₁(1; 3; x) = eˣ − 1 − x
    return np.where(np.abs(shift).max(axis=-1) < 1.0, small, logsumexp(logp + shift, axis=-1))


def require_positive(name: str, value: float, most: float = float_info.max) -> float:
    """Return `value`, a number above 0 and at most `most`, by default any finite one; raise UserError otherwise."""
    if not (isinstance(value, Real) and 0 < value <= most):
        raise UserError(f"{name} must be a number above 0 and at most {most:g}, got {value!r}")
    return float(value)


def require_count(name: str, value: int, least: int = 1) -> int:
    """Return `value`, a whole number of at least `least`; raise UserError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def require_logp(name: str, logp: np.ndarray) -> np.ndarray:
    """Return `logp` [..., A] as float64 log-probabilities; raise UserError unless each row sums to 1."""
    logp = np.asarray(logp, dtype=np.float64)
    if logp.ndim == 0 or logp.shape[-1] == 0:
        raise UserError(f"{name} must hold at least one log-probability, got shape {logp.shape}")
    if np.isnan(logp).any() or (logp == np.inf).any():
        raise UserError(f"{name} must hold log-probabilities (finite or -inf), found nan or +inf")
    worst = np.abs(np.exp(logp).sum(axis=-1) - 1.0).max()
    if worst > NORMALISATION_TOLERANCE:
        raise UserError(f"{name} must be normalised: its probabilities must sum to 1, off by {worst:.3g}")
    return logp


def require_reward(name: str, reward: np.ndarray, n_arms: int) -> np.ndarray:
    """Return `reward` [A] as float64; raise UserError unless every entry is 0 or 1 and the length fits."""
    reward = np.asarray(reward, dtype=np.float64)
    if reward.shape != (n_arms,):
        raise UserError(f"{name} must have one entry per arm ({n_arms}), got shape {reward.shape}")
    if not np.isin(reward, (0.0, 1.0)).all():
        raise UserError(f"{name} must be binary, 0 or 1, found {reward[~np.isin(reward, (0.0, 1.0))][0]!r}")
    return reward


def require_logit_pair(teacher_logits: np.ndarray, student_logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both logit arrays [..., V] as float64; raise UserError unless finite and of one shape."""
    teacher, student = (np.asarray(logits, dtype=np.float64) for logits in (teacher_logits, student_logits))
    for name, logits in (("teacher logits", teacher), ("student logits", student)):
        if logits.ndim == 0 or logits.shape[-1] == 0 or not np.isfinite(logits).all():
            raise UserError(f"{name} must be finite and of shape [..., V], got shape {logits.shape}")
    if teacher.shape != student.shape:
        raise UserError(f"teacher and student logits must have one shape, got {teacher.shape} and {student.shape}")
    return teacher, student
