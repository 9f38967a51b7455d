"""Audit, part 4: the divergence's tail term, by computer algebra and against the code that trains.

Outside the teacher's top k its renormalised probability is 0. With M = (P + Q)/2 and JSD = ½KL(P‖M) + ½KL(Q‖M), a token
of student probability q there adds ½·q·ln(q / (q/2)); summed, ½·P_rest·ln 2. The paper prints P_rest·ln 2.
"""

import math
from typing import Any

import pandas as pd
import sympy
import torch

from hdpo.learning.jsd import top_k_jsd


def tail_checks(seed: int = 0) -> pd.DataFrame:
    """Symbolic and numerical checks: statement, expected, measured, error (0 for an identity that holds)."""
    return pd.DataFrame([*_symbolic(), *_numerical(seed)], columns=["statement", "expected", "measured", "error"])


def _symbolic() -> list[tuple[str, Any, Any, float]]:
    p, q, r1, r2 = sympy.symbols("p q r_1 r_2", positive=True)
    halved = (p * sympy.log(2 * p / (p + q)) + q * sympy.log(2 * q / (p + q))) / 2  # one token's share of the JSD
    outside, unhalved = (sympy.simplify(sympy.limit(part, p, 0)) for part in (halved, 2 * halved))
    two = sympy.factor(outside.subs(q, r1) + outside.subs(q, r2))
    rows = [
        ("one token outside the top k adds, with the halves", q * sympy.log(2) / 2, outside),
        ("two such tokens add ½·(r_1 + r_2)·ln 2: only their sum matters", (r1 + r2) * sympy.log(2) / 2, two),
        ("in the sum of both KL without the halves it adds", q * sympy.log(2), unhalved),
    ]
    return [(text, want, got, float(abs(sympy.simplify(want - got)) != 0)) for text, want, got in rows]


def _numerical(seed: int, k: int = 64) -> list[tuple[str, Any, Any, float]]:
    """On random teacher and student logits, 256 tokens of vocabulary 512 in float64.

    The reference is the divergence summed over the whole vocabulary, with no tail term at all.
    """
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (2 * torch.randn(256, 512, generator=generator, dtype=torch.float64) for _ in range(2))
    P = teacher.masked_fill(teacher < teacher.topk(k).values[:, -1:], -math.inf).softmax(-1)
    Q = student.softmax(-1)
    M = (P + Q) / 2
    whole = (torch.xlogy(P, P / M) + torch.xlogy(Q, Q / M)).sum(-1) / 2
    rest = Q.masked_fill(P > 0, 0).sum(-1)
    exact, paper = top_k_jsd(teacher, student, k), top_k_jsd(teacher, student, k, tail="paper")
    apart = torch.zeros(1, 2 * k, dtype=torch.float64)
    apart[0, :k] = 80.0  # the student puts next to nothing on the teacher's tokens
    limit = [float(top_k_jsd(apart, -apart, k, tail=tail)) for tail in ("exact", "paper")]
    ln2, excess = math.log(2), (paper - whole).mean()
    rows: list[tuple[str, Any, Any]] = [
        ("½·P_rest·ln 2 against the sum over the whole vocabulary, mean JSD in nats", whole.mean(), exact.mean()),
        ("excess of P_rest·ln 2 over that sum, mean, against ½·P_rest·ln 2", (rest * ln2 / 2).mean(), excess),
        ("largest JSD possible, ln 2, when P_rest → 1: with ½·P_rest·ln 2", ln2, limit[0]),
        ("the same with P_rest·ln 2, against 1.5·ln 2, above the JSD's bound", 1.5 * ln2, limit[1]),
        ("largest error of ½·P_rest·ln 2 on a single token", 0.0, (exact - whole).abs().max()),
    ]
    return [(text, float(want), float(got), abs(float(want) - float(got))) for text, want, got in rows]
