"""The findings of the audit, one line each, derived from its tables."""

import pandas as pd

from hdpo.audit.significance import EVALUATIONS
from hdpo.claims.reported import PROBLEMS
from hdpo.render.formats import points
from hdpo.render.runs import run_label

COLUMNS = ["section", "finding", "value"]


def findings(audit) -> pd.DataFrame:
    """Columns section, finding, value (text), from an `hdpo.audit.audit.Audit`."""
    rows = [*_grid(audit), *_claims(audit), *_significance(audit), *_sizes(audit), *_selection(audit), *_tail(audit)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _grid(audit) -> list[tuple[str, str, str]]:
    direct, chance = audit.granularity.iloc[0], audit.granularity.iloc[1]
    fitting = audit.sizes[audit.sizes["on_grid"] == direct["entries"]]["problems"].tolist()
    finest = audit.granularity.iloc[2:]
    name, follows = "granularity", "no single grid"
    if direct["found"] == direct["entries"]:
        follows = "each problem counted as right or wrong once: pass@k by any of k draws, k drawn"
    return [
        (name, f"entries that are multiples of 1/{PROBLEMS}", f"{direct['found']} of {direct['entries']}"),
        (name, "chance of that if digits were random", f"{chance['chance']:.0e}"),
        (
            name,
            f"numbers of problems up to {audit.sizes['problems'].max()} that all entries fit",
            ", ".join(map(str, fitting)),
        ),
        (
            name,
            "largest chance of one column's entries under an average of several samples per problem",
            f"{finest['chance'].max():.0e}",
        ),
        (name, "what follows", follows),
        (name, "pass@1 of the beta difficulty with GRPO's pass@4 and pass@8", f"{audit.difficulty.pass_at(1):.3f}"),
    ]


def _claims(audit) -> list[tuple[str, str, str]]:
    rows = []
    for claim, part in audit.quoted.groupby("id", sort=False):
        whole = part[part["low_fits"] & part["high_fits"]]
        text = "; ".join(f"{row.reading}, Table {row.tables}" for row in whole.itertuples())
        low, high = _signed(part.iloc[0]["quoted_low"]), _signed(part.iloc[0]["quoted_high"])
        rows.append(("claims", f"{claim}: readings of the entries that range from {low} to {high} %", text or "none"))
        ends = audit.ends[audit.ends["id"] == claim]
        for end, fitting in ends.groupby("quoted"):
            text = "; ".join(
                f"{row.contrast}, {row.reading}, Table {row.table}" for row in fitting.dropna().itertuples()
            )
            rows.append(("claims", f"{claim}: single differences that round to {_signed(end)}", text or "none"))
    for claim, part in audit.claims.groupby("id", sort=False):
        agree = f"{int(part['as_claimed'].sum())} of {len(part)}"
        rows.append(("claims", f"{claim}: contrasts as claimed, both tables ({part.iloc[0]['claim']})", agree))
    return rows


def _significance(audit) -> list[tuple[str, str, str]]:
    sampled = audit.significance
    gains = sampled[sampled["metric"] != "greedy"]
    top = gains.loc[gains["diff"].idxmax()]
    name = "significance"
    rows = [
        (name, "largest gain, points", f"{points(top['diff'])} ({run_label(top['run'])}, {top['metric']})"),
        (name, "its z and p, unpaired binomial", f"{top['z_unpaired']:.2f}, {top['p_unpaired']:.2f}"),
        (name, "correlation from which on it is significant, paired", f"{top['rho_needed']:.2f}"),
        (
            name,
            "correlation that the beta difficulty implies, and z with it",
            f"{top['rho']:.2f}, {top['z_paired']:.2f}",
        ),
        (
            name,
            "problems that may differ for it to be significant by McNemar's exact test",
            f"{top['discordant']:.0f} of {PROBLEMS} (net {top['problems']})",
        ),
        (
            name,
            "differences significant at 5 %, unpaired, alone and by Holm",
            f"{(sampled['p_unpaired'] < 0.05).sum()} and {(sampled['holm_unpaired'] < 0.05).sum()} of {len(sampled)}",
        ),
        (
            name,
            "differences beyond 1.96 standard errors, paired with that correlation",
            f"{(sampled['z_paired'].abs() >= 1.96).sum()} of {len(sampled)}",
        ),
        (
            name,
            f"differences beyond 1.96 standard errors, best of {EVALUATIONS} on fixed problems, sampling error alone",
            f"{(sampled['z_best'].abs() >= 1.96).sum()} of {len(sampled)}",
        ),
    ]
    for row in audit.both[audit.both["run"] == "all HDPO runs"].itertuples():
        quantity = f"{row.metric}: mean of the HDPO runs − GRPO over both tables, points; p against their own spread"
        rows.append((name, quantity, f"{100 * row.diff:+.2f}".replace("-", "−") + f"; {row.p:.3f}"))
    at = audit.selection.query("evaluations == @EVALUATIONS and problems == @PROBLEMS and correlation == 0")
    for metric, part in audit.both.groupby("metric", sort=False):
        spread = f"{100 * part['sd_run'].iloc[0]:.2f}; {100 * at.set_index('metric').loc[metric, 'sd']:.2f}"
        rows.append((name, f"{metric}: spread of a run between repeats; of the best of {EVALUATIONS}, points", spread))
    single = audit.both[audit.both["run"] != "all HDPO runs"]
    count = f"{(single['p'] < 0.05).sum()} and {(single['holm'] < 0.05).sum()} of {len(single)}"
    return [*rows, (name, "single runs significant at 5 % against that spread, alone and by Holm", count)]


def _sizes(audit) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for metric, part in audit.required[audit.required["diff"] > 0].groupby("metric", sort=False):
        if metric != "greedy":
            text = f"{part['unpaired'].min():,} to {part['unpaired'].max():,}"
            paired = f"{part['difficulty'].min():,} to {part['difficulty'].max():,}"
            rows.append(("sizes", f"{metric}: problems for 80 % power at each gain, unpaired", text))
            rows.append(("sizes", f"{metric}: the same, paired with the correlation of the difficulty", paired))
    for metric, part in audit.both[audit.both["run"] != "all HDPO runs"].groupby("metric", sort=False):
        seeds = part["seeds"].dropna()
        text = f"{seeds.min():,.0f} to {seeds.max():,.0f} (spread of a run {100 * part['sd_run'].iloc[0]:.2f} points)"
        rows.append(("sizes", f"{metric}: seeds per method for 80 % power at each mean difference", text))
    return rows


def _selection(audit) -> list[tuple[str, str, str]]:
    rows = []
    at = audit.selection[(audit.selection["evaluations"] == EVALUATIONS) & (audit.selection["problems"] == PROBLEMS)]
    for metric, part in at.groupby("metric", sort=False):
        by_rho = "; ".join(
            f"+{100 * row.bias:.2f} ± {100 * row.sd:.2f} at ρ = {row.correlation:g}" for row in part.itertuples()
        )
        rows.append(
            ("selection", f"{metric}: bias and spread of the best of {EVALUATIONS}, flat curve, points", by_rho)
        )
    return rows


def _tail(audit) -> list[tuple[str, str, str]]:
    wrong = audit.tail[audit.tail["error"] > 1e-9]
    held = f"{len(audit.tail) - len(wrong)} of {len(audit.tail)}"
    excess = audit.tail[audit.tail["statement"].str.startswith("excess")].iloc[0]
    return [
        ("tail", "checks of ½·P_rest·ln 2 as the exact term that hold", held),
        ("tail", "what P_rest·ln 2 adds on random logits, mean in nats", f"{excess['measured']:.4f}"),
    ]


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
