"""The claims as data, and the rules that turn numbers into verdicts; claims.yaml gives the rules in words."""

import json
import math
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_args

import pandas as pd
import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from hdpo.claims.overhead import LineFit
from hdpo.claims.reported import PAPER
from hdpo.claims.results import Comparison
from hdpo.study.schema import Positive, Section, Share
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.theory.statements import STATEMENTS, covered

CLAIMS = PAPER / "claims.yaml"
Verdict = Literal[
    "reproduced",
    "mixed",
    "no difference seen",
    "smaller than this study can see",
    "undecided",
    "opposite sign",
    "contradicted",
    "not run",
]
VERDICTS: tuple[str, ...] = get_args(Verdict)
Weights = dict[str, float]


class Claim(Section):
    """What every claim says, whatever its rule."""

    id: Annotated[str, BeforeValidator(str)]  # YAML reads 7 as a number
    statement: str
    where: str  # in the paper
    quantity: str  # what is measured, in words
    quoted: str | None = None  # as the paper puts it
    beyond: bool = False  # not claimed by the paper
    study: str | None = None  # the only study that it speaks of; None: every study

    @property
    def kind(self) -> str:
        """What the claim is about: an effect, a null (that nothing changes), theory or cost."""
        return {"direction": "effect", "equivalence": "null", "overhead": "cost"}.get(
            getattr(self, "rule", ""), "theory"
        )


class Contrasted(Claim):
    metric: str
    contrast: Weights  # over run names; weights sum to 0
    subset: Annotated[str, Field(pattern=r"^(size \d|base (never|rarely|often))$")] | None = None  # of test problems
    versus: str | None = None  # another study, whose same contrast is subtracted

    @property
    def weights(self) -> list[Weights]:
        """The contrast, then its parts."""
        return [self.contrast, *getattr(self, "each", ())]

    @model_validator(mode="after")
    def _balanced(self) -> "Contrasted":
        if any(abs(sum(weights.values())) > 1e-9 for weights in self.weights):
            raise ValueError("the weights of a contrast must sum to 0")
        return self


class Direction(Contrasted):
    rule: Literal["direction"]
    direction: Literal["up", "down"]
    each: tuple[Weights, ...] = ()  # contrasts that must have the claimed sign, one by one
    each_seed: bool = False  # the contrast must have it in every seed, too
    least: Positive = 0.01  # the effect of interest, as a share: 0.01 is one point

    @property
    def sign(self) -> int:
        return 1 if self.direction == "up" else -1


class Equivalence(Contrasted):
    rule: Literal["equivalence"]
    margin: Positive  # as a share: 0.01 is one point


class Theory(Claim):
    rule: Literal["theory"]
    checks: tuple[str, ...]  # ids of `hdpo.theory.statements`


class Overhead(Claim):
    rule: Literal["overhead"]
    unit: Literal["seconds", "tokens"]
    r_squared: Share
    intercept_share: Share


AnyClaim = Annotated[Direction | Equivalence | Theory | Overhead, Field(discriminator="rule")]


def load_claims(path: Path | None = None) -> list[AnyClaim]:
    """Read and validate the claims, the kit's own unless `path` names others.

    Raises:
        UserError: missing, or a claim is not as its rule needs it; names the claim and the key.
    """
    path = path or CLAIMS
    try:
        text = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str)
        claims = TypeAdapter(list[AnyClaim]).validate_json(text)  # of JSON, strict validation takes lists as tuples
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())[:160]})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: claim number (from 0) and key {where}: {first['msg']}") from error
    if len({claim.id for claim in claims}) < len(claims):
        raise UserError(f"{path}: each id may occur only once")
    for claim in claims:
        for check in getattr(claim, "checks", ()):
            if check not in STATEMENTS:
                nearest = get_close_matches(check, STATEMENTS, n=1, cutoff=0)[0]
                raise UserError(f"{path}: claim {claim.id}: no theory statement has the id {check}; nearest: {nearest}")
    return claims


def claims_of(study: Study) -> list[AnyClaim]:
    """The claims that this study decides by itself."""
    return [c for c in load_claims() if c.study in (None, study.name) and getattr(c, "versus", None) is None]


def direction_verdict(claim: Direction, pooled: Comparison | None, each: Sequence[Comparison | None]) -> Verdict:
    """Rule `direction`; `each` holds the comparisons of `claim.each`, in order."""
    parts = [part.value for part in each if part is not None]
    if pooled is None or len(parts) < len(each):
        return "not run"
    if math.isnan(pooled.se):
        return "undecided"
    low, high = sorted([claim.sign * pooled.low, claim.sign * pooled.high])
    parts += pooled.per_seed if claim.each_seed else ()
    if low > 0:
        return "reproduced" if all(claim.sign * part > 0 for part in parts) else "mixed"
    if high < 0:
        return "opposite sign"
    return "no difference seen" if pooled.detectable <= claim.least else "smaller than this study can see"


def equivalence_verdict(claim: Equivalence, pooled: Comparison | None) -> Verdict:
    """Rule `equivalence`, on the 90 % interval."""
    if pooled is None:
        return "not run"
    if -claim.margin < pooled.low90 and pooled.high90 < claim.margin:
        return "reproduced"
    return "contradicted" if pooled.low90 > claim.margin or pooled.high90 < -claim.margin else "undecided"


def theory_verdict(claim: Theory, table: pd.DataFrame | None) -> tuple[Verdict, str]:
    """Rule `theory`, with the counts that decide it; `table` as `read_theory` gives it, None where it is missing."""
    if table is None:
        return "not run", "—"
    found = [covered(table["id"], check) for check in claim.checks]
    if not all(rows.any() for rows in found):
        return "not run", "—"
    rows = table[pd.concat(found, axis=1).any(axis=1)]
    failed = int((rows["verdict"] == "fails").sum())
    return ("contradicted" if failed else "reproduced"), f"{len(rows) - failed} of {len(rows)} checks hold"


def overhead_verdict(claim: Overhead, fit: LineFit | None) -> Verdict:
    """Rule `overhead`; `fit` is None where no HDPO run is there."""
    if fit is None:
        return "not run"
    if fit.slope is None:
        return "undecided"
    if fit.slope <= 0:
        return "contradicted"
    small = abs(fit.intercept) <= claim.intercept_share * fit.mean
    return "reproduced" if small and fit.r_squared >= claim.r_squared else "mixed"
