"""The tables of statistics.md, from the frames that `hdpo.report.statistics` works out.

templates/captions.yaml lists their columns, with a name of `FORMATS` for each.
"""

import math
from collections.abc import Callable

import pandas as pd

from hdpo.render.formats import NOT_RUN, beside, degrees, metric_label, number, percent, points
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table
from hdpo.report.captions import WORDS, caption

FORMATS: dict[str, Callable[..., str]] = {
    "run": run_label,
    "metric": metric_label,
    "percent": percent,
    "text": lambda value: "—" if pd.isna(value) else str(value),
    "count": lambda value: number(value, ",.0f"),
    "share": lambda value: number(100 * value, ".1f"),
    "points": lambda value: number(100 * value, ".2f"),
    "difference": lambda value: NOT_RUN if pd.isna(value) else points(value),
    "df": lambda value: degrees(value) or "—",
    "p": lambda value: "—" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}",
    "changes": lambda gained, lost: "—" if pd.isna(gained) else f"{gained:.0f}/{lost:.0f}",
    "interval": lambda value, low, high, seeds: points(value, low, high, _df(seeds)),
    "paired": points,
    "estimate": lambda value, low, high, df: (
        percent(value) + ("" if pd.isna(low) else f" [{100 * low:.1f}, {100 * high:.1f}]{beside(df)}")
    ),
    "mean": lambda value: number(value, ".2f"),
    "range": lambda value, low, high, seeds=0: (
        "—" if pd.isna(value) else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]{beside(_df(seeds))}"
    ),
}


def statistics_table(id: str, frame: pd.DataFrame, **values: object) -> Table:
    """A table from its frame; `values` go into its caption."""
    layout = {title: columns.split() for title, columns in WORDS["columns"][id].items()}
    cells = {
        tuple(title.rpartition(" | ")[::2]): [FORMATS[form](*row) for row in zip(*map(frame.get, columns), strict=True)]
        for title, (form, *columns) in layout.items()
    }
    shown = pd.DataFrame(cells)
    if not any(group for group, _ in cells):
        shown.columns = shown.columns.droplevel(0)
    return make_table(id, shown, caption(id, **values), words=("method", "metric", "id", "claim"))


def selection_table(selection: pd.DataFrame) -> Table:
    """One row per run × metric, without the paper's estimator, whose averages stand in the caption."""
    averages = ", ".join(
        "{} {} ({})".format(metric_label(metric), *map(FORMATS["points"], part[["optimism", "expected"]].mean()))
        for metric, part in selection.groupby("metric", sort=False)
    )
    shown = selection[~selection["metric"].str.startswith("any@")]
    averages = f" Mean over runs: {averages}." if averages else ""
    return statistics_table("statistics-selection", shown, averages=averages)


def _df(seeds: int) -> float:
    """Degrees of freedom of a bootstrap over seeds; nan for fewer than two."""
    return seeds - 1.0 if seeds > 1 else math.nan
