"""HDPO's distillation term: the Jensen–Shannon divergence over the teacher's top-k tokens (section 3.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def top_k_jsd(teacher_logits: Tensor, student_logits: Tensor, k: int, tail: str = "exact") -> Tensor:
    """JSD_k(π_T ‖ π_θ) per token in nats, [M], from logits [M, V] each: `jsd_k` of `teacher_top_k`.

    The gradient flows into both arguments; give teacher logits without one.
    """
    return jsd_k(student_logits, *teacher_top_k(teacher_logits, k), tail)


def teacher_top_k(teacher_logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The teacher's k largest logits, renormalised to log-probs, and their tokens, [M, K] each, from [M, V]."""
    top_logits, top_tokens = teacher_logits.topk(min(k, teacher_logits.shape[-1]), dim=-1)
    return finite(top_logits.log_softmax(-1)), top_tokens


def jsd_k(student_logits: Tensor, logp: Tensor, tokens: Tensor, tail: str = "exact") -> Tensor:
    """JSD(P ‖ Q) per token in nats, [M], from the student's logits [M, V] and `teacher_top_k`, [M, K] each.

    P is the teacher restricted to its k largest logits and renormalised; Q is the student over the whole
    vocabulary; M = ½(P + Q). Inside the top k both halves are summed directly. Outside it P is 0, so M = ½Q and
    every token adds ½ Q ln(Q / ½Q) = ½ Q ln 2: the student's outside mass P_rest adds ½·P_rest·ln 2 in all,
    whatever its spread (`tail="exact"`). The paper prints P_rest·ln 2 (`tail="paper"`), which is exact only for
    KL(P‖M) + KL(Q‖M) without the halves; `tail="none"` leaves it out. With k ≥ V this is the full divergence.
    """
    if tail not in ("exact", "paper", "none"):
        raise ValueError(f"tail: expected exact, paper or none, got {tail!r}")
    logq = finite(student_logits.log_softmax(-1).gather(-1, tokens))
    p, q = logp.exp(), logq.exp()
    logm = ((p + q) / 2).clamp_min(1e-38).log()
    inside = (p * (logp - logm) + q * (logq - logm)).sum(-1) / 2
    if tail == "none" or tokens.shape[-1] == student_logits.shape[-1]:
        return inside
    rest = (1 - q.sum(-1)).clamp_min(0)  # P_rest, the student's mass outside the teacher's top k
    return inside + rest * math.log(2) * (0.5 if tail == "exact" else 1.0)


def finite(logp: Tensor) -> Tensor:
    """Log-probs with −∞, as of padding in a vocabulary, as a number: p · log p is then 0 and not NaN."""
    return logp.clamp_min(-1e30)
