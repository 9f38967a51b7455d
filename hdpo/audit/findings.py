"""The findings of the audit, one line each, derived from its tables (what `hdpo.audit.audit.audit` returns)."""

import pandas as pd

from hdpo.audit.significance import ALL, EVALUATIONS
from hdpo.claims.reported import PROBLEMS
from hdpo.render.formats import points, signed
from hdpo.render.runs import run_label


def findings(audit) -> pd.DataFrame:
    """Columns section, finding, value (text)."""
    parts = {"granularity": _grid, "claims": _claims, "significance": _significance, "sizes": _sizes}
    parts |= {"selection": _selection, "tail": _tail}
    rows = [(section, *found) for section, part in parts.items() for found in part(audit).items()]
    return pd.DataFrame(rows, columns=["section", "finding", "value"])


def _grid(audit) -> dict[str, str]:
    direct, chance, finest = audit.granularity.iloc[0], audit.granularity.iloc[1], audit.granularity.iloc[2:]
    fitting = audit.sizes[audit.sizes["on_grid"] == direct["entries"]]["problems"]
    single = "each problem counted as right or wrong once: pass@k by any of k draws, k drawn"
    average = "largest chance of one column's entries under an average of several samples per problem"
    return {
        f"entries that are multiples of 1/{PROBLEMS}": f"{direct['found']} of {direct['entries']}",
        "chance of that if digits were random": f"{chance['chance']:.0e}",
        f"numbers of problems up to {audit.sizes['problems'].max()} that all entries fit": ", ".join(map(str, fitting)),
        average: f"{finest['chance'].max():.0e}",
        "what follows": single if direct["found"] == direct["entries"] else "no single grid",
        "pass@1 of the beta difficulty with GRPO's pass@4 and pass@8": f"{audit.difficulty.pass_at(1):.3f}",
    }


def _claims(audit) -> dict[str, str]:
    found = {}
    for claim, part in audit.quoted.groupby("id", sort=False):
        whole = part[part["low_fits"] & part["high_fits"]]
        low, high = signed(part.iloc[0]["quoted_low"]), signed(part.iloc[0]["quoted_high"])
        readings = "; ".join(f"{row.reading}, Table {row.tables}" for row in whole.itertuples())
        found[f"{claim}: readings of the entries that range from {low} to {high} %"] = readings or "none"
        for end, fitting in audit.quoted_ends[audit.quoted_ends["id"] == claim].groupby("quoted"):
            fits = [f"{row.contrast}, {row.reading}, Table {row.table}" for row in fitting.dropna().itertuples()]
            found[f"{claim}: single differences that round to {signed(end)}"] = "; ".join(fits) or "none"
    for claim, part in audit.claims_recomputed.groupby("id", sort=False):
        agree = f"{int(part['as_claimed'].sum())} of {len(part)}"
        found[f"{claim}: contrasts as claimed, both tables ({part.iloc[0]['claim']})"] = agree
    return found


def _significance(audit) -> dict[str, str]:
    every, both, beyond = audit.significance, audit.significance_both, "differences beyond 1.96 standard errors"
    gains, single = every[every["metric"] != "greedy"], both[both["run"] != ALL]
    top = gains.loc[gains["diff"].idxmax()]
    paired, best = (f"{(every[z].abs() >= 1.96).sum()} of {len(every)}" for z in ("z_paired", "z_best"))
    mcnemar = "problems that may differ for it to be significant by McNemar's exact test"
    found = {
        "largest gain, points": f"{points(top['diff'])} ({run_label(top['run'])}, {top['metric']})",
        "its z and p, unpaired binomial": f"{top['z_unpaired']:.2f}, {top['p_unpaired']:.2f}",
        "correlation from which on it is significant, paired": f"{top['rho_needed']:.2f}",
        "correlation that the beta difficulty implies, and z with it": f"{top['rho']:.2f}, {top['z_paired']:.2f}",
        mcnemar: f"{top['discordant']:.0f} of {PROBLEMS} (net {top['problems']})",
        "differences significant at 5 %, unpaired, alone and by Holm": _significant(
            every, "p_unpaired", "holm_unpaired"
        ),
        f"{beyond}, paired with that correlation": paired,
        f"{beyond}, best of {EVALUATIONS} on fixed problems, sampling error alone": best,
    }
    for row in both[both["run"] == ALL].itertuples():
        quantity = f"{row.metric}: mean of the HDPO runs − GRPO over both tables, points; p against their own spread"
        found[quantity] = f"{signed(100 * row.diff, 2)}; {row.p:.3f}"
    at = audit.selection.query("evaluations == @EVALUATIONS and problems == @PROBLEMS and correlation == 0")
    for metric, sd in at.set_index("metric")["sd"].items():
        spread = both.loc[both["metric"] == metric, "sd_run"].iloc[0]
        name = f"{metric}: spread of a run between repeats; of the best of {EVALUATIONS}, points"
        found[name] = f"{100 * spread:.2f}; {100 * sd:.2f}"
    alone = "single runs significant at 5 % against that spread, alone and by Holm"
    return found | {alone: _significant(single, "p", "holm")}


def _significant(frame: pd.DataFrame, alone: str, corrected: str) -> str:
    return f"{(frame[alone] < 0.05).sum()} and {(frame[corrected] < 0.05).sum()} of {len(frame)}"


def _sizes(audit) -> dict[str, str]:
    found = {}
    gains, single = (
        audit.required.query("diff > 0 and metric != 'greedy'"),
        audit.significance_both.query("run != @ALL"),
    )
    for metric, part in gains.groupby("metric", sort=False):
        unpaired, paired = (f"{part[how].min():,} to {part[how].max():,}" for how in ("unpaired", "difficulty"))
        found[f"{metric}: problems for 80 % power at each gain, unpaired"] = unpaired
        found[f"{metric}: the same, paired with the correlation of the difficulty"] = paired
    for metric, part in single.groupby("metric", sort=False):
        seeds, spread = part["seeds"].dropna(), 100 * part["sd_run"].iloc[0]
        text = f"{seeds.min():,.0f} to {seeds.max():,.0f} (spread of a run {spread:.2f} points)"
        found[f"{metric}: seeds per method for 80 % power at each mean difference"] = text
    return found


def _selection(audit) -> dict[str, str]:
    at = audit.selection.query("evaluations == @EVALUATIONS and problems == @PROBLEMS")
    return {
        f"{metric}: bias and spread of the best of {EVALUATIONS}, flat curve, points": "; ".join(
            f"+{100 * row.bias:.2f} ± {100 * row.sd:.2f} at ρ = {row.correlation:g}" for row in part.itertuples()
        )
        for metric, part in at.groupby("metric", sort=False)
    }


def _tail(audit) -> dict[str, str]:
    held = (audit.tail["error"] <= 1e-9).sum()
    excess = audit.tail[audit.tail["statement"].str.startswith("excess")].iloc[0]
    return {
        "checks of ½·P_rest·ln 2 as the exact term that hold": f"{held} of {len(audit.tail)}",
        "what P_rest·ln 2 adds on random logits, mean in nats": f"{excess['measured']:.4f}",
    }
