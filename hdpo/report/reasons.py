"""Why a verdict was reached: the rule of a claim and what decided it, in sentences that fit any result."""

import inspect
from typing import Any

import pandas as pd

from hdpo.claims.claims import AnyClaim, Direction, Equivalence, Overhead, Theory
from hdpo.claims.reported import reported_contrasts
from hdpo.stats.paired import Estimates

LEVEL = inspect.signature(Estimates.interval).parameters["level"].default  # of the intervals
POWER = inspect.signature(Estimates.detectable).parameters["power"].default  # of the detectable effect
MISSING = "A run, metric or file that this claim needs is missing."


def rule_in_words(claim: AnyClaim) -> str:
    """What would make the claim count as reproduced."""
    if isinstance(claim, Direction):
        side = "above" if claim.sign > 0 else "below"
        needs = [f"the {LEVEL:.0%} interval lies {side} 0".replace("%", " %")]
        needs += [f"each of {len(claim.each)} parts has that sign"] if claim.each else []
        needs += ["so does every seed"] if claim.each_seed else []
        return ", and ".join(needs)
    if isinstance(claim, Equivalence):
        return f"the 90 % interval lies within ± {_points(claim.margin)}"
    if isinstance(claim, Theory):
        return "no numerical check of it fails"
    return (
        f"a line of overhead on cliffs rises, explains at least {100 * claim.r_squared:g} % of the variance, and its"
        f" intercept is at most {100 * claim.intercept_share:g} % of the mean"
    )


def reason(claim: AnyClaim, row: dict[str, Any], reported: pd.DataFrame) -> str:
    """What decided the verdict; `row` is the claim's entry in check.json."""
    data: Any = row.get("data")
    if row["verdict"] == "not run":
        return MISSING
    if isinstance(claim, Direction):
        return (
            _direction(claim, data)
            + _interest(claim, row["verdict"], data["pooled"])
            + _power(claim, data["pooled"], reported)
        )
    if isinstance(claim, Equivalence):
        return _equivalence(claim, data["pooled"])
    if isinstance(claim, Overhead):
        return _overhead(claim, data)
    return "Every check of it holds." if row["verdict"] == "reproduced" else "At least one check of it fails."


def _direction(claim: Direction, data: dict[str, Any]) -> str:
    pooled, parts, seeds = data["pooled"], [part["value"] for part in data["each"]], data["pooled"]["per_seed"]
    text = f"The mean is {'on' if claim.sign * pooled['value'] > 0 else 'not on'} the claimed side"
    if pooled["low"] is None:
        text += "; one seed gives no interval"
    else:
        text += f"; its interval {'excludes' if pooled['low'] > 0 or pooled['high'] < 0 else 'includes'} 0"
    if parts:
        text += f"; {sum(claim.sign * value > 0 for value in parts)} of {len(parts)} parts have the claimed sign"
    if claim.each_seed:
        text += f"; it has that sign in {sum(claim.sign * value > 0 for value in seeds)} of {len(seeds)} seeds"
    return text + "."


def _interest(claim: Direction, verdict: str, pooled: dict[str, Any]) -> str:
    """Where the interval holds 0: what this study detects, beside the effect of interest."""
    if verdict not in ("no difference seen", "smaller than this study can see"):
        return ""
    beside = "more than" if pooled["detectable"] > claim.least else "no more than"
    least = f"{100 * pooled['detectable']:.2f} points with {100 * POWER:g} % power"
    return f" The smallest effect that this study detects is {least}, {beside} the {_points(claim.least)} of interest."


def _power(claim: Direction, pooled: dict[str, Any], reported: pd.DataFrame) -> str:
    """Whether this study could have found effects as large as the reported ones."""
    paper, detectable = reported_contrasts(reported, claim.contrast, claim.metric), pooled["detectable"]
    if detectable is None or paper.empty:
        return ""
    seen = paper.abs() >= detectable
    if seen.any():
        where = "" if seen.all() else " in one of the paper's two tables only"
        return f" This study would find an effect as large as reported{where}."
    return f" This study cannot find an effect as small as reported with {100 * POWER:g} % power."


def _equivalence(claim: Equivalence, pooled: dict[str, Any]) -> str:
    if pooled["low90"] is None:
        return "One seed gives no interval."
    inside = -claim.margin < pooled["low90"] and pooled["high90"] < claim.margin
    outside = pooled["low90"] > claim.margin or pooled["high90"] < -claim.margin
    where = "lies within" if inside else "lies outside" if outside else "reaches beyond"
    return f"The interval {where} the margin of ± {_points(claim.margin)}."


def _overhead(claim: Overhead, fit: dict[str, Any]) -> str:
    if fit["slope"] is None:
        return f"{fit['steps']} steps, or cliffs that never vary, give no line."
    rises = "rises" if fit["slope"] > 0 else "does not rise"
    linear = "met" if fit["r_squared"] >= claim.r_squared else "missed"
    small = "met" if abs(fit["intercept"]) / fit["mean"] <= claim.intercept_share else "missed"
    return f"The line {rises}; the bound on its fit is {linear}, the bound on its intercept is {small}."


def _points(share: float) -> str:
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"
