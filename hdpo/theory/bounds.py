"""Lemma 1 and Proposition 1: how far apart two softmaxes are, given how far apart their logits are.

    Lemma 1            KL(softmax(z) ‖ softmax(z + δ)) ≤ ‖δ‖∞² / 2
    sharper            KL(softmax(z) ‖ softmax(z + δ)) ≤ (max δ − min δ)² / 8       (Hoeffding's lemma)
    Proposition 1(i)   same model θ:     KL(P_T ‖ P_S) ≤ ‖f_θ(c_T) − f_θ(c_S)‖∞² / 2 ≤ L² Δ² / 2
    Proposition 1(ii)  teacher model φ:  KL(P_T ‖ P_S) ≤ (LΔ + ‖f_φ(c_T) − f_θ(c_T)‖∞)² / 2

Everything is a function of logit arrays [..., V], so it applies to a bandit and to a language model alike.
Logits may be float32; they are widened to float64 first.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from hdpo.theory.bandit import make_bandit
from hdpo.theory.divergences import kl_between_logits, log_softmax, require_logit_pair, require_positive
from hdpo.theory.statements import EXACT, SEARCH, row

MODEL_QUESTION = "prop-1.wording.base"  # an open question to the data, not a theorem


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
    quantities = {
        "same_kl": kl_between_logits(privileged_logits, plain_logits),
        "same_bound": max_bound(privileged_logits, plain_logits),
        "same_range_bound": range_bound(privileged_logits, plain_logits),
    }
    if other_privileged_logits is not None:
        steps = [
            np.sqrt(2 * max_bound(privileged_logits, logits)) for logits in (plain_logits, other_privileged_logits)
        ]
        quantities["cross_kl"] = kl_between_logits(other_privileged_logits, plain_logits)
        quantities["cross_bound"] = sum(steps) ** 2 / 2
        quantities["cross_direct_bound"] = max_bound(other_privileged_logits, plain_logits)
    return quantities


def largest_kl(logit_range: float) -> float:
    """sup of KL over all z and all δ with max δ − min δ = `logit_range` r: log((e^r − 1)/r) − 1 + r/(e^r − 1).

    Two points suffice: δ is r on mass m and 0 elsewhere, KL = log(1 − m + m e^r) − m r, whose maximum is at
    m = 1/r − 1/(e^r − 1). Raises UserError unless r > 0.
    """
    growth = np.expm1(require_positive("logit range r", logit_range))
    return float(np.log(growth / logit_range) - 1 + logit_range / growth)


def adversarial_logits(n_arms: int, logit_range: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits z [V] and shift δ [V], 0 ≤ δ ≤ `logit_range`, found by ascent on the KL: the best of four random starts.

    δ is r · (1 + sin u)/2, so that its box is built in.
    """

    def unpack(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return point[:n_arms], logit_range * (1 + np.sin(point[n_arms:])) / 2

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        """−KL / r² and its gradient: ∂KL/∂δ = Q − P, and ∂KL/∂z = Q − P − P (δ − E_P δ)."""
        logits, shift = unpack(point)
        policy, other = np.exp(log_softmax(logits)), np.exp(log_softmax(logits + shift))
        by_shift = (other - policy) * logit_range * np.cos(point[n_arms:]) / 2
        by_logits = other - policy - policy * (shift - policy @ shift)
        gradient = np.concatenate([by_logits, by_shift])
        return -float(kl_between_logits(logits, logits + shift)) / logit_range**2, -gradient / logit_range**2

    starts = rng.normal(size=(4, 2 * n_arms))
    found = [minimize(loss, start, method="BFGS", jac=True, options={"gtol": 1e-8}) for start in starts]
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


def random_logits(n_pairs: int = 20_000, n_vocabulary: int = 50, seed: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits z and z + δ, both [n, V]: z of scale 0.1 to 5, δ of scale 1e-6 to 1e2."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_pairs, n_vocabulary)) * 10 ** rng.uniform(-1, 0.7, (n_pairs, 1))
    return logits, logits + rng.normal(size=logits.shape) * 10 ** rng.uniform(-6, 2, (n_pairs, 1))


def tightness_curve() -> pd.DataFrame:
    """KL over (max δ − min δ)²/8: columns kind ("supremum", "adversarial", "random"), range, ratio."""
    rng = np.random.default_rng(24)
    rows = [("supremum", r, largest_kl(r) / (r**2 / 8)) for r in np.logspace(-2, 1.5, 60)]
    for r in (0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        z, delta = adversarial_logits(8, r, rng)
        rows.append(("adversarial", r, kl_between_logits(z, z + delta) / (r**2 / 8)))
    logits, shifted = random_logits(2000, 8, seed=25)
    ratios = kl_between_logits(logits, shifted) / range_bound(logits, shifted)
    pairs = zip(np.ptp(shifted - logits, axis=-1), ratios, strict=True)
    rows += [("random", r, ratio) for r, ratio in pairs if 0.01 <= r <= 30]
    return pd.DataFrame(rows, columns=["kind", "range", "ratio"])


def lemma_rows() -> list[dict]:
    """Lemma 1 and its sharper form on random logits, and how close to them an optimiser can get."""
    pair = random_logits()
    divergence, plain, sharp = kl_between_logits(*pair), max_bound(*pair), range_bound(*pair)
    pairs = "largest KL over bound, 20000 random pairs"
    rows = [
        row("lemma-1.bound", pairs, 1, (divergence / plain).max(), EXACT, "at most"),
        row("lemma-1.sharper", pairs, 1, (divergence / sharp).max(), EXACT, "at most"),
        row("lemma-1.sharper-is-smaller", "largest sharper over plain", 1, (sharp / plain).max(), EXACT, "at most"),
    ]
    rng = np.random.default_rng(7)
    for width in (0.01, 1.0, 4.0):
        z, delta = adversarial_logits(8, width, rng)
        supremum, found = largest_kl(width) / (width**2 / 8), kl_between_logits(z, z + delta) / (width**2 / 8)
        quantity, name = f"KL over (max − min)²/8 at range {width:g}", f"range-{width:g}"
        rows.append(row("lemma-1.supremum", quantity, supremum, found, SEARCH, name=name))
    z, delta = adversarial_logits(8, 0.01, rng)
    centred = z + delta - 0.005  # ‖δ‖∞ is then half the range, so both bounds agree
    tight = kl_between_logits(z, centred) / max_bound(z, centred)
    return [*rows, row("lemma-1.tight", "KL over ‖δ‖∞²/2 at ‖δ‖∞ = 0.005", 1, tight, 1e-5)]


def model_pairs(n_pairs: int = 2000) -> pd.DataFrame:
    """Proposition 1's quantities, a row per random linear model f(c) = W c and another model near it."""
    rng = np.random.default_rng(8)
    weights = rng.normal(size=(n_pairs, 8, 5))
    plain = rng.normal(size=(n_pairs, 5))
    privileged = plain + 0.3 * rng.normal(size=plain.shape)
    other = weights + 0.2 * rng.normal(size=weights.shape)
    logits = [np.einsum("nvd,nd->nv", w, c) for w, c in ((weights, privileged), (weights, plain), (other, privileged))]
    reach = linear_model_lipschitz(weights) * np.linalg.norm(privileged - plain, axis=1)
    return pd.DataFrame(proposition1(*logits)).assign(lipschitz_bound=reach**2 / 2)


def counter_example() -> dict[str, float]:
    """Gap and bound of the same-model teacher and of a cross-model teacher with φ(c_T) = θ(c_S)."""
    bandit = make_bandit(6, 2, 0.1, np.random.default_rng(9))
    privileged = bandit.context + bandit.hint_map @ np.array([2.0, 1.0])
    other = zero_gap_teacher(bandit.weights, bandit.context, privileged)
    same, plain, cross = bandit.weights @ privileged, bandit.weights @ bandit.context, other @ privileged
    return {name: float(value) for name, value in proposition1(same, plain, cross).items()}


def proposition1_rows() -> list[dict]:
    """Proposition 1 on random linear models, and a counter-example to its wording."""
    pairs, example = model_pairs(), counter_example()
    same, cross = pairs["same_kl"] / pairs["lipschitz_bound"], pairs["cross_kl"] / pairs["cross_bound"]
    bound = (pairs["same_bound"] / pairs["cross_bound"]).max()
    larger = example["cross_bound"] / example["same_bound"]
    nearer = (pairs["cross_kl"] <= pairs["same_kl"]).mean()
    counter, wording = "prop-1.counter-example", "prop-1.wording"
    quantity = "KL of the cross-model teacher in the counter-example"
    return [
        row("prop-1.same-model", "largest KL over bound, 2000 linear models", 1, same.max(), EXACT, "at most"),
        row("prop-1.cross-model", "largest KL over bound, 2000 pairs of models", 1, cross.max(), EXACT, "at most"),
        row("prop-1.smaller-bound", "largest bound (i) over bound (ii)", 1, bound, 0, "at most"),
        row(counter, "its KL", 0, example["cross_kl"], EXACT, "at most", name="gap"),
        row(counter, "its bound over the same-model bound", 1, larger, 0, "at least", name="bound"),
        row(wording, quantity, example["same_kl"], example["cross_kl"], 0, "at least", name="counter-example"),
        row(wording, "share of 2000 random pairs where it does not", 0, nearer, 0, name="pairs"),
    ]


def model_rows(gaps: pd.DataFrame) -> list[dict]:
    """Proposition 1 on a language model, from the frame of `model_gap.token_gaps`."""
    largest = (gaps["same_kl"] / gaps["same_bound"]).max()
    found = [row("prop-1.same-model.base", "largest KL over bound", 1, largest, EXACT, "at most")]
    if "cross_kl" in gaps:
        largest = (gaps["cross_kl"] / gaps["cross_bound"]).max()
        nearer = (gaps["cross_kl"] < gaps["same_kl"]).mean()
        found.append(row("prop-1.cross-model.base", "largest KL over bound", 1, largest, EXACT, "at most"))
        found.append(row(MODEL_QUESTION, "share of tokens where another seed's model is nearer", 0, nearer, 0))
    return found
