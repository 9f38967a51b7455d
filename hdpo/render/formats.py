"""How numbers are put in words: percentages, points, and the names of metrics."""

import math
from collections.abc import Sequence

NOT_RUN = "not run"


def percent(share: float | None) -> str:
    """0.6519 as `65.2`; a missing share as `not run`."""
    return NOT_RUN if share is None or math.isnan(share) else f"{100 * share:.1f}"


def degrees(df: float) -> str:
    """Degrees of freedom, `4.1` or `511`; nothing where there are none."""
    return "" if math.isnan(df) else f"{df:.1f}" if df < 9.95 else f"{df:.0f}"


def beside(df: float) -> str:
    """Degrees of freedom as they stand behind an interval: ` (df 4.1)`, never broken over two lines."""
    return "" if math.isnan(df) else f" (df\N{NO-BREAK SPACE}{degrees(df)})"


def points(difference: float | None, low: float = math.nan, high: float = math.nan, df: float = math.nan) -> str:
    """A difference of shares in percentage points, with its interval if there is one: `+0.6 [−1.2, +2.4] (df 4.1)`."""
    if difference is None or math.isnan(difference):
        return "—"
    ends = "" if math.isnan(low) else f" [{signed(100 * low)}, {signed(100 * high)}]{beside(df)}"
    return signed(100 * difference) + ends


def signed(value: float, decimals: int = 1) -> str:
    """+0.6 or −1.2; what rounds to zero has no sign."""
    text = f"{value:+.{decimals}f}".replace("-", "−")
    return text if float(text[1:]) else text[1:]


def sentence_case(text: str) -> str:
    """`true cliffs` as `True cliffs`; the rest stays as it is."""
    return text[0].upper() + text[1:]


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def number(value: float, form: str) -> str:
    """A value in a format of Python's, nothing as a dash."""
    return "—" if value is None or math.isnan(value) else format(value, form).replace("-", "−")


def metric_label(metric: str) -> str:
    return "greedy" if metric == "greedy" else metric.replace("any@", "any of ")


def thousands(value: float | None) -> str:
    """12345 as `12 345` (no-break spaces), nothing as a dash."""
    return "—" if value is None else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def duration(seconds: float | None) -> str:
    """Seconds in the unit that reads best."""
    if seconds is None:
        return "—"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
