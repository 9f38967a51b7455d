"""The statements under test with their ids, and the theory table: how a row is made, read back and shown.

verdict   "holds"               the error is within the tolerance
          "holds with limits"   the same, but only under the condition that the statement names
          "fails"               the error is larger than the tolerance
"""

from pathlib import Path
from statistics import NormalDist
from typing import SupportsFloat

import pandas as pd

from hdpo.render.table import Table, make_table
from hdpo.system.errors import UserError

VERDICTS = ("holds", "holds with limits", "fails")
COLUMNS = ["id", "statement", "quantity", "expected", "measured", "error", "tolerance", "verdict"]
NUMBERS = ["expected", "measured", "error", "tolerance"]

EXACT = 1e-12  # identities, relative error
SEARCH = 1e-8  # results of a numerical optimisation
ERROR_RATE = 1e-3  # chance that one Monte Carlo row fails although its statement is true
QUANTILE = NormalDist().inv_cdf(1 - ERROR_RATE / 2)  # so many standard errors a Monte Carlo mean may be off

# Ids are stable: paper/claims.yaml refers to them. An id also stands for every id below it, as a.b for a.b.c.
STATEMENTS = {
    "lemma-1.bound": "Lemma 1: KL ≤ ‖δ‖∞² / 2",
    "lemma-1.tight": "Lemma 1 cannot be improved by a constant: its ratio tends to 1 for small shifts",
    "lemma-1.sharper": "Sharper: KL ≤ (max δ − min δ)² / 8",
    "lemma-1.sharper-is-smaller": "The sharper bound is never the larger one",
    "lemma-1.supremum": "Adversarial logits reach the supremum, two groups of tokens",
    "prop-1.same-model": "Prop. 1(i): same model, KL ≤ L² Δ² / 2",
    "prop-1.same-model.base": "Prop. 1(i) at every token of the base model",
    "prop-1.cross-model": "Prop. 1(ii): other model, KL ≤ (LΔ + ‖f_φ − f_θ‖∞)² / 2",
    "prop-1.cross-model.base": "Prop. 1(ii) at every token of the base model",
    "prop-1.smaller-bound": "Prop. 1: the same-model bound is the smaller bound",
    "prop-1.counter-example": "Counter-example: a teacher φ(c_T) = θ(c_S) has gap 0 under the larger bound",
    "prop-1.wording": "Prop. 1's wording: the same-model teacher has the strictly smaller gap",
    "prop-1.wording.base": "Prop. 1's wording on the base model: the same-model teacher has the smaller gap",
    "prop-2.optimum": "Prop. 2: the optimum of E[R] − β KL is π_ref exp(R/β) / Z",
    "prop-2.limit": "Prop. 2: π*_β → π_ref(·|R=1) as β → 0+",
    "prop-2.odds": "Ideal RL keeps the odds among equally correct arms",
    "prop-2.hint": "A hint that lifts all correct arms by s makes the teacher π*_β with β = 1/s",
    "prop-2.rejection": "Prop. 2: R = 1 rejection sampling from π_ref samples π_ref(·|R=1)",
    "prop-2.fit-test": "The fit test notices a target tilted by 0.3 nats on one arm",
    "prop-2.cost": "Acceptance costs 1/p proposals",
    "cliff.probability": "All G rollouts fail with probability (1 − p)^G",
    "cliff.grpo": "On a cliff GRPO's update is exactly zero",
    "cliff.distillation": "On a cliff the distillation update is not zero",
    "wait.grpo": "Steps until GRPO first moves are geometric",
    "wait.hdpo": "Steps until HDPO first moves are geometric",
    "climb.grpo.formula": "GRPO's climb follows the mean-field formula (small steps)",
    "climb.hdpo.formula": "HDPO's climb follows the mean-field formula (small steps)",
    "climb.grpo.1-token": "GRPO's climb takes time in 1/p (one token)",
    "climb.grpo.8-tokens": "GRPO's climb takes time in 1/p (8 tokens)",
    "climb.hdpo.1-token": "HDPO's climb hardly slows as p falls (one token)",
    "climb.hdpo.8-tokens": "HDPO's climb hardly slows as p falls (8 tokens)",
    "distillation.able": "Distillation recovers the filtered teacher (student can express it)",
    "distillation.reverse-kl": (
        "Distillation by reverse KL recovers a teacher that is positive everywhere (π*_β, β = 0.2)"
    ),
    "distillation.limited": "Distillation recovers the filtered teacher (student can only be bell-shaped)",
    "distillation.means": "A limited student under forward KL keeps the teacher's feature means",
    "distillation.sequences": "Imitating filtered trajectories (sequence-level forward KL) reaches success 1",
    "distillation.tokens": (
        "L_JSD, summed over tokens of filtered trajectories, reaches the filtered teacher's success 1"
    ),
    "distillation.minimiser": "L_JSD's minimiser, for a fixed teacher, has the unfiltered teacher's success p_T",
    "proxy.tilt": "The proxy is the target tilted by exp PMI",
    "proxy.leak": "Leaked nats = about correctness + which right + which wrong",
    "proxy.gap": "The proxy's gap is at most leaked nats / p_T",
    "proxy.answer": "The proxy is the target (hint tells only whether an arm is correct)",
    "proxy.solution": "The proxy is the target (hint favours one worked solution)",
    "proxy.odds": "Privileged distillation keeps the odds among correct arms (worked solution)",
    "proxy.average": "Averaged over hints given success, the exact-posterior proxy is the target",
    "proxy.information": "The mean gap over hints is I(Y; H | R=1)",
}


def row(
    statement: str,
    quantity: str,
    expected: SupportsFloat,
    measured: SupportsFloat,
    tolerance: float,
    relation: str = "equal",
    *,
    name: str = "",
    limits: bool = False,
) -> dict[str, str | float]:
    """A row of the table; `statement` is an id of `STATEMENTS`, and `name` tells its quantities apart.

    `relation` says what counts as error: "equal" any difference, "at most" an excess of `measured` over
    `expected`, "at least" a shortfall. `limits` marks a statement that is true only under the condition in
    its own wording. For a relative error, measure a ratio whose expected value is 1.
    """
    wanted, found = float(expected), float(measured)
    agrees = {"equal": found == wanted, "at most": found <= wanted, "at least": found >= wanted}[relation]
    error = 0.0 if agrees else abs(found - wanted)
    verdict = "fails" if not error <= tolerance else "holds with limits" if limits else "holds"  # nan fails
    quantity = quantity if relation == "equal" else f"{quantity} ({relation})"
    id = f"{statement}.{name}" if name else statement
    values = (id, STATEMENTS[statement], quantity, wanted, found, error, tolerance, verdict)
    return dict(zip(COLUMNS, values, strict=True))


def covered(ids: pd.Series, id: str) -> pd.Series:
    """Which of `ids` are `id` or stand below it."""
    return (ids == id) | ids.str.startswith(f"{id}.")


def read_theory(path: Path) -> pd.DataFrame | None:
    """The theory table with columns `COLUMNS`, None where the file is missing.

    Raises UserError if the file is not a theory table of this version.
    """
    if not path.exists():
        return None
    try:
        frame = pd.read_csv(path)[COLUMNS]
        return frame.astype(dict.fromkeys(COLUMNS, str) | dict.fromkeys(NUMBERS, float))
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path}: not a theory table of this version; write it again") from error


def theory_table(frame: pd.DataFrame) -> Table:
    """The table for readers, without tolerances."""
    shown = frame.drop(columns="tolerance").assign(**{name: frame[name].map(_short) for name in NUMBERS[:-1]})
    return make_table("theory", shown, words=["id", "statement", "quantity", "verdict"])


def _short(value: float) -> str:
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
