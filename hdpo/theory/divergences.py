"""Divergences between two distributions given as log-probabilities [..., A]; the last axis is summed.

0 · log 0 counts as 0, and a divergence that is infinite is returned as inf, not as a large number.
"""

import numpy as np
from scipy.special import hyp1f1, logsumexp, rel_entr

from hdpo.theory.validate import require_logit_pair


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
