"""Kullback–Leibler divergences between teacher and student, beside the paper's Jensen–Shannon divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hdpo.learning.jsd import finite

if TYPE_CHECKING:
    from torch import Tensor


def forward_kl(student_logits: Tensor, logp: Tensor, tokens: Tensor) -> Tensor:
    """KL(P ‖ Q) per token in nats, [M]; P is the teacher's renormalised top k, from `teacher_top_k`, [M, K] each."""
    logq = finite(student_logits.log_softmax(-1).gather(-1, tokens))
    return (logp.exp() * (logp - logq)).sum(-1)


def reverse_kl(student_logits: Tensor, logp: Tensor, tokens: Tensor) -> Tensor:
    """KL(Q ‖ P) per token in nats, [M], arguments as in `forward_kl`.

    P is 0 outside the top k, where KL(Q ‖ P) would be infinite: there the sum leaves out what Q holds. So a k below V
    biases the gradient (arXiv:2605.11182).
    """
    logq = finite(student_logits.log_softmax(-1).gather(-1, tokens))
    return (logq.exp() * (logq - logp)).sum(-1)
