"""The audit's tables: the numbers of each for the CSV, and the same numbers with a caption for readers."""

import pandas as pd

from hdpo.audit.significance import EVALUATIONS
from hdpo.claims.reported import PROBLEMS
from hdpo.render.formats import metric_label, number, signed
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table

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


def audit_tables(audit) -> dict[str, tuple[pd.DataFrame, Table]]:
    """By name: numbers and what readers see of them, from an `hdpo.audit.audit.Audit`."""
    tail = audit.tail.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    shown = {
        "granularity": (audit.granularity, _GRANULARITY, _granularity(audit.granularity)),
        "quoted": (audit.quoted, _QUOTED, _quoted(audit.quoted)),
        "quoted_ends": (audit.ends, _ENDS, _ends(audit.ends)),
        "claims_recomputed": (audit.claims, _CLAIMS, _claims(audit.claims)),
        "significance": (audit.significance, _significance_caption(audit), _significance(audit.significance)),
        "significance_both": (audit.both, _BOTH, _both(audit.both)),
        "selection": (audit.selection, _selection_caption(audit), _selection(audit.selection)),
        "required": (audit.required, _REQUIRED, _required(audit.required)),
        "tail": (audit.tail.astype(str), _TAIL, tail),
    }
    return {
        name: (numbers, make_table(f"audit-{name.replace('_', '-')}", frame, caption, words=WORDS))
        for name, (numbers, caption, frame) in shown.items()
    }


_GRANULARITY = (
    f"Multiples of 1/{PROBLEMS} among the reported values, and the share that each way of estimating would give on"
    f" {PROBLEMS} problems, simulated and rounded to four decimals. Chance: the probability that all these entries fit."
)
_QUOTED = (
    "Ranges that the paper quotes, against the range of the differences that they are about, read as absolute (points)"
    " and as relative (%). A range fits if both ends agree after rounding to one decimal."
)
_ENDS = "The ends of those ranges, and the single differences that round to them, absolute (points) or relative (%)."
_CLAIMS = "Each claim's contrasts of the reported entries, absolute (points) and relative (%), and whether as claimed."
_BOTH = (
    "Both hardware runs as two repeats of each configuration: difference to GRPO in points, compared with the spread"
    " between repeats (two-way analysis of variance, runs × tables). Both repeats have the same seed. MDE: the"
    " difference that this comparison would find with 80 % power. Seeds: per method, to find the observed difference"
    " given this spread."
)
_REQUIRED = (
    "Problems that one run of each method would need to tell the reported difference from 0 with 80 % power at"
    " two-sided 5 %. Sampling error alone: unpaired, paired with correlation 0.5, and with that of the beta difficulty."
)
_TAIL = (
    "The tail of the top-k Jensen–Shannon divergence: by computer algebra, and in float64 on random logits compared"
    " with the sum over the whole vocabulary."
)


def _significance_caption(audit) -> str:
    return (
        "Reported differences to GRPO of the same table, in points. z unpaired: binomial. Correlation needed: from this"
        " correlation of the two runs' outcomes on, the difference is significant at 5 %. z paired: with the"
        f" correlation of a beta difficulty ({audit.difficulty.a:.2f}, {audit.difficulty.b:.2f}) fitted to GRPO's"
        f" pass@4 and pass@8. Discordant: how many of the {PROBLEMS} problems may differ at most for McNemar's exact"
        f" p ≤ .05. z best: fixed problems, each entry the best of {EVALUATIONS} evaluations of a flat curve, sampling"
        " error alone (sampled pass@1 stands in for greedy). None of these covers run-to-run error."
    )


def _selection_caption(audit) -> str:
    return (
        "Best of E evaluations on a flat curve: bias ± standard deviation of the maximum, in points, by number of"
        " fixed validation problems Q and lag-one correlation of the noise; beta difficulty"
        f" ({audit.difficulty.a:.2f}, {audit.difficulty.b:.2f}), any of k; sampled pass@1 stands in for greedy."
    )


def _granularity(frame: pd.DataFrame) -> pd.DataFrame:
    shown = {"estimator": frame["estimator"], "entries on the grid": _of(frame["found"], frame["entries"])}
    shown["share expected"] = frame["share_on_grid"].map("{:.3f}".format)
    shown["chance"] = frame["chance"].map("{:.0e}".format).replace("1e+00", "1")
    return pd.DataFrame(shown)


def _quoted(frame: pd.DataFrame) -> pd.DataFrame:
    shown = {"claim": frame["id"] + ", " + frame["metric"].map(metric_label)}
    shown["quoted"] = _range(frame["quoted_low"], frame["quoted_high"], 1)
    shown |= {"tables": frame["tables"], "read as": frame["reading"], "found": _range(frame["low"], frame["high"], 2)}
    ends = {(True, True): "fits", (True, False): "lower end", (False, True): "upper end", (False, False): "no"}
    shown["agrees"] = [ends[pair] for pair in zip(frame["low_fits"], frame["high_fits"], strict=True)]
    return pd.DataFrame(shown | {"inside": _of(frame["inside"], frame["parts"])})


def _ends(frame: pd.DataFrame) -> pd.DataFrame:
    shown = {"claim": frame["id"] + ", " + frame["metric"].map(metric_label)}
    shown["end"] = frame["quoted"].map(signed)
    shown |= {name: frame[name].fillna("—") for name in ("reading", "table", "contrast")}
    return pd.DataFrame(shown | {"value": frame["value"].map(lambda v: "—" if pd.isna(v) else signed(v, 2))})


def _claims(frame: pd.DataFrame) -> pd.DataFrame:
    shown = {"claim": frame["id"], "metric": frame["metric"].map(metric_label)}
    shown |= {"contrast": frame["contrast"], "table": frame["table"].astype(str)}
    shown |= {
        "absolute": frame["absolute"].map(signed, decimals=2),
        "relative": frame["relative"].map(signed, decimals=2),
    }
    return pd.DataFrame(shown | {"as claimed": frame["as_claimed"].map({True: "yes", False: "no"})})


def _significance(frame: pd.DataFrame) -> pd.DataFrame:
    shown = {"table": frame["table"].astype(str), "method": frame["run"].map(run_label)}
    shown |= {"metric": frame["metric"].map(metric_label), "Δ": (100 * frame["diff"]).map(signed, decimals=2)}
    shown |= {"z unpaired": frame["z_unpaired"].map(signed, decimals=2), "p": frame["p_unpaired"].map("{:.2f}".format)}
    shown["p Holm"] = frame["holm_unpaired"].map("{:.2f}".format)
    possible = frame["rho_needed"] < frame["rho_largest"]
    needed = frame["rho_needed"].clip(lower=0).map("{:.2f}".format)
    shown |= {
        "correlation needed": needed.where(possible, "impossible"),
        "z paired": frame["z_paired"].map(signed, decimals=2),
    }
    shown["discordant"] = frame["discordant"].map(number, form=".0f")
    return pd.DataFrame(shown | {"z best": frame["z_best"].map(signed, decimals=2)})


def _both(frame: pd.DataFrame) -> pd.DataFrame:
    names = [run if run == "all HDPO runs" else run_label(run) for run in frame["run"]]
    shown = {
        "method": names,
        "metric": frame["metric"].map(metric_label),
        "Δ": (100 * frame["diff"]).map(signed, decimals=2),
    }
    shown |= {"SE": (100 * frame["se"]).map("{:.2f}".format), "t": frame["t"].map(signed, decimals=2)}
    shown |= {"p": frame["p"].map("{:.3f}".format)}
    shown["p Holm"] = frame["holm"].map(number, form=".3f")
    shown["MDE"] = (100 * frame["detectable"]).map("{:.2f}".format)
    return pd.DataFrame(shown | {"seeds": frame["seeds"].map(number, form=",.0f")})


def _selection(frame: pd.DataFrame) -> pd.DataFrame:
    cells = [f"+{100 * bias:.2f} ± {100 * sd:.2f}" for bias, sd in zip(frame["bias"], frame["sd"], strict=True)]
    shown = {"metric": frame["metric"].map(metric_label), "Q": frame["problems"].astype(str)}
    shown["correlation"] = frame["correlation"].map("{:g}".format)
    long = pd.DataFrame(shown | {"at": "E = " + frame["evaluations"].astype(str), "cell": cells})
    wide = long.pivot(index=list(shown), columns="at", values="cell")
    return wide.loc[
        long[list(shown)].drop_duplicates().itertuples(index=False), list(dict.fromkeys(long["at"]))
    ].reset_index()


def _required(frame: pd.DataFrame) -> pd.DataFrame:
    shown = {"table": frame["table"].astype(str), "method": frame["run"].map(run_label)}
    shown |= {"metric": frame["metric"].map(metric_label), "Δ": (100 * frame["diff"]).map(signed, decimals=2)}
    for column, label in (("unpaired", "unpaired"), ("half", "correlation 0.5"), ("difficulty", "of difficulty")):
        shown[label] = frame[column].map(lambda n: "—" if pd.isna(n) else f"{n:,}")
    return pd.DataFrame(shown)


def _of(part: pd.Series, whole: pd.Series) -> list[str]:
    return [f"{a} of {b}" for a, b in zip(part, whole, strict=True)]


def _range(low: pd.Series, high: pd.Series, decimals: int) -> list[str]:
    return [f"{signed(a, decimals)} to {signed(b, decimals)}" for a, b in zip(low, high, strict=True)]
