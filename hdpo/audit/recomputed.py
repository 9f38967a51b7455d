"""Audit, part 2: every claim about the reported numbers, recomputed from them."""

import re
from collections.abc import Iterator
from itertools import product
from operator import itemgetter

import pandas as pd

from hdpo.claims.claims import AnyClaim, Direction, Equivalence
from hdpo.claims.reported import reported_contrasts
from hdpo.system.errors import UserError

READINGS = ["absolute", "relative"]
ROUNDING = 0.05  # points: what a figure quoted to one decimal leaves open


def recomputed_claims(reported: pd.DataFrame, claims: list[AnyClaim]) -> pd.DataFrame:
    """One row per claim × table × contrast that the claim consists of, where the paper reports its runs.

    Columns: id, claim, metric, table, contrast, absolute (points), relative (% of the contrast's negative side), as
    claimed (whether the sign is the claimed one, or within the margin for an equivalence).
    """
    rows = []
    for claim in (claim for claim in claims if isinstance(claim, Direction | Equivalence)):
        found = []
        for weights in claim.weights[1:] or claim.weights:
            negative = {run: -weight for run, weight in weights.items() if weight < 0}
            against = reported_contrasts(reported, negative, claim.metric)
            for table, value in reported_contrasts(reported, weights, claim.metric).items():
                absolute = round(100 * value, 6)
                claimed = (
                    claim.sign * absolute > 0 if isinstance(claim, Direction) else abs(absolute) < 100 * claim.margin
                )
                row = {"id": claim.id, "claim": claim.statement, "metric": claim.metric, "table": table}
                row |= {"contrast": _words(weights), "absolute": absolute, "relative": absolute / against[table]}
                found.append(row | {"as_claimed": claimed})
        rows += sorted(found, key=itemgetter("table"))
    return pd.DataFrame(rows)


def quoted_ranges(recomputed: pd.DataFrame, claims: list[AnyClaim]) -> pd.DataFrame:
    """Each range that the paper quotes against the range of its parts, read as absolute and as relative differences.

    Columns: id, metric, quoted_low, quoted_high, tables ("1", "3", "1 and 3"), reading, low, high (points or %),
    low_fits and high_fits (equal after rounding to one decimal), parts, inside (parts within the quoted range, rounding
    allowed).
    """
    rows, every = [], sorted(set(recomputed["table"]))
    choices = [[table] for table in every] + ([every] if len(every) > 1 else [])
    for claim, parts, (low, high) in _quoted_parts(recomputed, claims):
        for tables, reading in product(choices, READINGS):
            values = parts.loc[parts["table"].isin(tables) & (parts["reading"] == reading), "value"]
            inside = values.between(low - ROUNDING - 1e-9, high + ROUNDING + 1e-9)
            row = {"id": claim.id, "metric": claim.metric, "quoted_low": low, "quoted_high": high}
            row |= {"tables": " and ".join(map(str, tables)), "reading": reading}
            row |= {"low": values.min(), "high": values.max()}
            row |= {"low_fits": _fits(values.min(), low), "high_fits": _fits(values.max(), high)}
            rows.append(row | {"inside": int(inside.sum()), "parts": len(values)})
    return pd.DataFrame(rows)


def quoted_ends(recomputed: pd.DataFrame, claims: list[AnyClaim]) -> pd.DataFrame:
    """Each end of a quoted range, and the single differences that round to it.

    Columns: id, metric, quoted (% or points, as the reader takes it), reading, table, contrast, value; one row per
    difference that fits, and one with nothing in the last four where none does.
    """
    rows = []
    for claim, parts, ends in _quoted_parts(recomputed, claims):
        for end in ends:
            key = {"id": claim.id, "metric": claim.metric, "quoted": end}
            fitting = parts[[_fits(value, end) for value in parts["value"]]].astype({"table": str})
            rows += [key | found for found in fitting.to_dict("records")] or [key]
    return pd.DataFrame(rows, columns=["id", "metric", "quoted", "reading", "table", "contrast", "value"])


def _quoted_parts(recomputed: pd.DataFrame, claims: list[AnyClaim]) -> Iterator[tuple]:
    """Claims with a quoted range; their recomputed parts as table, contrast, reading and value; and the range."""
    for claim in claims:
        parts = recomputed[recomputed["id"] == claim.id].melt(["table", "contrast"], READINGS, "reading", "value")
        if claim.quoted is not None and len(parts):
            yield claim, parts, quoted_range(claim.quoted)


def quoted_range(text: str) -> tuple[float, float]:
    """`+0.8 to +1.1 %` as (0.8, 1.1), the lower first.

    Raises:
        UserError: there are not two numbers in it.
    """
    numbers = [float(part.replace("−", "-")) for part in re.findall(r"[+−-]?\d+(?:\.\d+)?", text)]
    if len(numbers) != 2:
        raise UserError(f"claims: quoted {text!r} must hold two numbers, as in “+0.8 to +1.1 %”")
    return min(numbers), max(numbers)


def _fits(value: float, quoted: float) -> bool:
    """Whether `value` could have been rounded to `quoted`, one decimal, ties to either side."""
    return bool(abs(value - quoted) <= ROUNDING + 1e-9)


def _words(weights: dict[str, float]) -> str:
    """`drifting-0.1 − grpo`; equal fractions of several runs as `mean(…)`."""
    sides = []
    for side in (1, -1):
        runs = [run.removeprefix("hdpo-") for run, weight in weights.items() if side * weight > 0]
        total = sum(abs(weight) for weight in weights.values() if side * weight > 0)
        sides.append(runs[0] if len(runs) == 1 else f"{'mean' if abs(total - 1) < 1e-9 else 'sum'}({', '.join(runs)})")
    return " − ".join(sides)
