"""How numbers are put in words: percentages, points, and the names of metrics."""

import math

NOT_RUN = "not run"


def percent(share: float | None) -> str:
    """0.6519 as `65.2`; a missing share as `not run`."""
    return NOT_RUN if share is None or math.isnan(share) else f"{100 * share:.1f}"


DF_MEANS = (
    "df are the degrees of freedom of an interval: about how many independent seeds or problems its width rests on,"
    " less one"
)


def degrees(df: float) -> str:
    """Degrees of freedom, `4.1` or `511`; nothing where there are none."""
    return "" if math.isnan(df) else f"{df:.1f}" if df < 10 else f"{df:.0f}"


def beside(df: float) -> str:
    """Degrees of freedom as they stand behind an interval: ` (df 4.1)`, never broken over two lines."""
    return "" if math.isnan(df) else f" (df\N{NO-BREAK SPACE}{degrees(df)})"


def points(difference: float | None, low: float = math.nan, high: float = math.nan, df: float = math.nan) -> str:
    """A difference of shares in percentage points, with its interval if there is one: `+0.6 [−1.2, +2.4] (df 4.1)`."""
    if difference is None or math.isnan(difference):
        return "—"
    ends = "" if math.isnan(low) else f" [{_signed(low)}, {_signed(high)}]{beside(df)}"
    return _signed(difference) + ends


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def metric_label(metric: str) -> str:
    return "greedy" if metric == "greedy" else metric.replace("any@", "any of ")


def thousands(value: float | None) -> str:
    """12345 as `12 345` (no-break spaces), nothing as a dash."""
    return "—" if value is None else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")
