"""The audit's tables: the numbers of each for the CSV, and the same numbers with a caption for readers."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from hdpo.audit.significance import ALL, EVALUATIONS
from hdpo.claims.reported import PROBLEMS
from hdpo.render.formats import metric_label, signed
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table

Cell = Callable[[Any], str]  # of a row, as `itertuples` gives it
SECTIONS = {
    "Granularity": ["granularity"],
    "Claims recomputed": ["quoted", "quoted_ends", "claims_recomputed"],
    "Significance": ["significance", "significance_both"],
    "Selection on the maximum": ["selection"],
    "Sizes that would have been needed": ["required"],
    "The tail term": ["tail"],
}
WORDS = {
    *("estimator", "claim", "quoted", "read as", "reading", "contrast", "agrees"),
    *("metric", "method", "as claimed", "statement"),
}
CAPTIONS = {
    "granularity": (
        "Multiples of 1/{problems} among the reported values, and the share that each way of estimating would give on"
        " {problems} problems, simulated and rounded to four decimals. Chance: the probability that all these entries"
        " fit."
    ),
    "quoted": (
        "Ranges that the paper quotes, against the range of the differences that they are about, read as absolute"
        " (points) and as relative (%). A range fits if both ends agree after rounding to one decimal."
    ),
    "quoted_ends": (
        "The ends of those ranges, and the single differences that round to them, absolute (points) or relative (%)."
    ),
    "claims_recomputed": (
        "Each claim's contrasts of the reported entries, absolute (points) and relative (%), and whether as claimed."
    ),
    "significance": (
        "Reported differences to GRPO of the same table, in points. z unpaired: binomial. Correlation needed: from this"
        " correlation of the two runs' outcomes on, the difference is significant at 5 %. z paired: with the"
        " correlation of a beta difficulty {difficulty} fitted to GRPO's pass@4 and pass@8. Discordant: how many of the"
        " {problems} problems may differ at most for McNemar's exact p ≤ .05. z best: fixed problems, each entry the"
        " best of {evaluations} evaluations of a flat curve, sampling error alone (sampled pass@1 stands in for"
        " greedy). None of these covers run-to-run error."
    ),
    "significance_both": (
        "Both hardware runs as two repeats of each configuration: difference to GRPO in points, compared with the"
        " spread between repeats (two-way analysis of variance, runs × tables). Both repeats have the same seed. MDE:"
        " the difference that this comparison would find with 80 % power. Seeds: per method, to find the observed"
        " difference given this spread."
    ),
    "selection": (
        "Best of E evaluations on a flat curve: bias ± standard deviation of the maximum, in points, by number of"
        " fixed validation problems Q and lag-one correlation of the noise; beta difficulty {difficulty}, any of k;"
        " sampled pass@1 stands in for greedy."
    ),
    "required": (
        "Problems that one run of each method would need to tell the reported difference from 0 with 80 % power at"
        " two-sided 5 %. Sampling error alone: unpaired, paired with correlation 0.5, and with that of the beta"
        " difficulty."
    ),
    "tail": (
        "The tail of the top-k Jensen–Shannon divergence: by computer algebra, and in float64 on random logits compared"
        " with the sum over the whole vocabulary."
    ),
}


def _signed(column: str) -> Cell:
    return lambda row: signed(getattr(row, column), 2)


def _plain(column: str, form: str = "") -> Cell:
    return lambda row: "—" if pd.isna(value := getattr(row, column)) else format(value, form)


def _range(low: float, high: float, decimals: int) -> str:
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


FITS = {(True, True): "fits", (True, False): "lower end", (False, True): "upper end", (False, False): "no"}
TABLE, METRIC = {"table": _plain("table")}, {"metric": lambda row: metric_label(row.metric)}
CLAIM = {"claim": lambda row: f"{row.id}, {metric_label(row.metric)}"}
METHOD = {"method": lambda row: row.run if row.run == ALL else run_label(row.run)}
DIFFERENCE = METHOD | METRIC | {"Δ": lambda row: signed(100 * row.diff, 2)}
SHOWN: dict[str, dict[str, Cell]] = {
    "granularity": {
        "estimator": _plain("estimator"),
        "entries on the grid": lambda row: f"{row.found} of {row.entries}",
        "share expected": _plain("share_on_grid", ".3f"),
        "chance": lambda row: f"{row.chance:.0e}".replace("1e+00", "1"),
    },
    "quoted": CLAIM
    | {"quoted": lambda row: _range(row.quoted_low, row.quoted_high, 1)}
    | {"tables": _plain("tables"), "read as": _plain("reading"), "found": lambda row: _range(row.low, row.high, 2)}
    | {"agrees": lambda row: FITS[row.low_fits, row.high_fits]}
    | {"inside": lambda row: f"{row.inside} of {row.parts}"},
    "quoted_ends": CLAIM
    | {"end": lambda row: signed(row.quoted)}
    | {name: _plain(name) for name in ("reading", "table", "contrast")}
    | {"value": lambda row: "—" if pd.isna(row.value) else signed(row.value, 2)},
    "claims_recomputed": {"claim": _plain("id"), **METRIC, "contrast": _plain("contrast"), **TABLE}
    | {name: _signed(name) for name in ("absolute", "relative")}
    | {"as claimed": lambda row: "yes" if row.as_claimed else "no"},
    "significance": TABLE
    | DIFFERENCE
    | {"z unpaired": _signed("z_unpaired"), "p": _plain("p_unpaired", ".2f"), "p Holm": _plain("holm_unpaired", ".2f")}
    | {
        "correlation needed": lambda row: (
            f"{max(row.rho_needed, 0):.2f}" if row.rho_needed < row.rho_largest else "impossible"
        )
    }
    | {"z paired": _signed("z_paired"), "discordant": _plain("discordant", ".0f"), "z best": _signed("z_best")},
    "significance_both": DIFFERENCE
    | {"SE": lambda row: f"{100 * row.se:.2f}", "t": _signed("t"), "p": _plain("p", ".3f")}
    | {"p Holm": _plain("holm", ".3f"), "MDE": lambda row: f"{100 * row.detectable:.2f}"}
    | {"seeds": _plain("seeds", ",.0f")},
    "required": TABLE
    | DIFFERENCE
    | {"unpaired": _plain("unpaired", ","), "correlation 0.5": _plain("half", ",")}
    | {"of difficulty": _plain("difficulty", ",")},
}


def audit_tables(audit) -> dict[str, tuple[pd.DataFrame, Table]]:
    """By name: numbers and what readers see of them, from what `hdpo.audit.audit.audit` returns."""
    difficulty = f"({audit.difficulty.a:.2f}, {audit.difficulty.b:.2f})"
    shown = {"selection": _selection(audit.selection)}
    shown["tail"] = audit.tail.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    for name, cells in SHOWN.items():
        rows = getattr(audit, name).itertuples()
        shown[name] = pd.DataFrame([{title: cell(row) for title, cell in cells.items()} for row in rows])
    tables = {}
    for name, caption in CAPTIONS.items():
        caption = caption.format(problems=PROBLEMS, evaluations=EVALUATIONS, difficulty=difficulty)
        table = make_table(f"audit-{name.replace('_', '-')}", shown[name], caption, words=WORDS)
        numbers = getattr(audit, name)
        tables[name] = (numbers.astype(str) if name == "tail" else numbers, table)
    return tables


def _selection(frame: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (metric, problems, correlation), part in frame.groupby(["metric", "problems", "correlation"], sort=False):
        cells = {f"E = {row.evaluations}": f"+{100 * row.bias:.2f} ± {100 * row.sd:.2f}" for row in part.itertuples()}
        rows.append({"metric": metric_label(metric), "Q": problems, "correlation": f"{correlation:g}"} | cells)
    return pd.DataFrame(rows)
