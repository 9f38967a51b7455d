"""Rows of the theory table on Lemma 1 and Proposition 1."""

import numpy as np
import pandas as pd

from hdpo.theory import bounds
from hdpo.theory.bandit import make_bandit
from hdpo.theory.divergences import kl_between_logits
from hdpo.theory.statements import EXACT, SEARCH, row

MODEL_QUESTION = "prop-1.wording.base"  # an open question to the data, not a theorem


def random_logits(n_pairs: int = 20_000, n_vocabulary: int = 50, seed: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits z and z + δ, both [n, V]: z of scale 0.1 to 5, δ of scale 1e-6 to 1e2."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_pairs, n_vocabulary)) * 10 ** rng.uniform(-1, 0.7, (n_pairs, 1))
    return logits, logits + rng.normal(size=logits.shape) * 10 ** rng.uniform(-6, 2, (n_pairs, 1))


def lemma_rows() -> list[dict]:
    """Lemma 1 and its sharper form on random logits, and how close to them an optimiser can get."""
    logits, shifted = random_logits()
    divergence = kl_between_logits(logits, shifted)
    plain, sharp = bounds.max_bound(logits, shifted), bounds.range_bound(logits, shifted)
    pairs = "largest KL over bound, 20000 random pairs"
    rows = [
        row("lemma-1.bound", pairs, 1, (divergence / plain).max(), EXACT, "at most"),
        row("lemma-1.sharper", pairs, 1, (divergence / sharp).max(), EXACT, "at most"),
        row("lemma-1.sharper-is-smaller", "largest sharper over plain", 1, (sharp / plain).max(), EXACT, "at most"),
    ]
    rng = np.random.default_rng(7)
    for width in (0.01, 1.0, 4.0):
        z, delta = bounds.adversarial_logits(8, width, rng)
        found, bound = kl_between_logits(z, z + delta), width**2 / 8
        supremum = bounds.largest_kl(width)[0] / bound
        quantity, name = f"KL over (max − min)²/8 at range {width:g}", f"range-{width:g}"
        rows.append(row("lemma-1.supremum", quantity, supremum, found / bound, SEARCH, name=name))
    z, delta = bounds.adversarial_logits(8, 0.01, rng)
    centred = z + delta - 0.005  # ‖δ‖∞ is then half the range, so both bounds agree
    tight = kl_between_logits(z, centred) / bounds.max_bound(z, centred)
    rows.append(row("lemma-1.tight", "KL over ‖δ‖∞²/2 at ‖δ‖∞ = 0.005", 1, tight, 1e-5))
    return rows


def model_pairs(n_pairs: int = 2000, seed: int = 8) -> dict[str, np.ndarray]:
    """Proposition 1's quantities, [n_pairs] each, for random linear models f(c) = W c and other models near them."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_pairs, 8, 5))
    plain = rng.normal(size=(n_pairs, 5))
    privileged = plain + 0.3 * rng.normal(size=plain.shape)
    other = weights + 0.2 * rng.normal(size=weights.shape)
    logits = [np.einsum("nvd,nd->nv", w, c) for w, c in ((weights, privileged), (weights, plain), (other, privileged))]
    quantities = bounds.proposition1(*logits)
    quantities["lipschitz_bound"] = (
        bounds.linear_model_lipschitz(weights) * np.linalg.norm(privileged - plain, axis=1)
    ) ** 2 / 2
    return quantities


def counter_example() -> dict[str, float]:
    """Gap and bound of the same-model teacher and of a cross-model teacher with φ(c_T) = θ(c_S)."""
    bandit = make_bandit(6, 2, 0.1, np.random.default_rng(9))
    privileged = bandit.context + bandit.hint_map @ np.array([2.0, 1.0])
    other = bounds.zero_gap_teacher(bandit.weights, bandit.context, privileged)
    same, plain, cross = bandit.weights @ privileged, bandit.weights @ bandit.context, other @ privileged
    return {name: float(value) for name, value in bounds.proposition1(same, plain, cross).items()}


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


def rows() -> list[dict]:
    """All rows of this file."""
    return [*lemma_rows(), *proposition1_rows()]
