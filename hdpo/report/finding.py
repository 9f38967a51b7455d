"""The finding: every claim in every regime, side by side, the effects with their corrections, and what it says."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdpo.claims.check import check_claims, claim_contrasts
from hdpo.claims.claims import Direction, claims_of, direction_verdict, load_claims
from hdpo.claims.registration import regime
from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import BASELINE, Comparison, Results, compare, with_intervals
from hdpo.claims.sources import REFERENCE
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import points, sentence_case, signed
from hdpo.render.labels import key, name_ends, state
from hdpo.render.runs import parse_run, run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, save_figure, use_style
from hdpo.render.table import Table, make_table, markdown_text, to_markdown, write_text
from hdpo.report.captions import caption
from hdpo.report.gains import gain_frame, starred, with_holm
from hdpo.report.gains_figure import ALL
from hdpo.report.lead import lead_of
from hdpo.report.playground import write_playground
from hdpo.report.run_style import METRICS
from hdpo.stats.paired import Estimates
from hdpo.study.study import Study
from hdpo.system.files import write_json

EARLIER = REFERENCE / "earlier_outcomes.csv"
EARLIER_TEXT = (
    "Three seeds and 512 test problems each time, on unlucky cliffs alone. The verdicts had other names: direction only"
    " meant the claimed sign in an interval that holds 0, inconclusive any other interval that holds 0."
)
VERDICT_COLUMNS = ["id", "claim", "kind", "beyond", "regime", "measured", "MDE", "verdict"]
TEACHERS = (("drifting", "-", -0.05), ("frozen", "--", 0.05))  # name, line, shift along λ


def write_finding(studies: Sequence[Study], out: Path = Path("results/finding")) -> Path:
    """Write finding.md, .json, .csv (verdicts), effects.csv and .md, the figure as PNG and PDF, the page to try it,
    playground.html, and what is told first: lead.md and questions.md (for the README), lead.json (for reports).

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    results = {regime(study): Results(study) for study in studies}
    verdicts, effects = verdict_frame(results), effect_frame(results)
    lead = lead_of(results, verdicts)
    codes = [found.codes for found in results.values() if found.codes]
    tables = (lead.table, _verdict_table(verdicts, list(results)), _effect_table(effects))
    sections = [Section("", (*lead.text, *codes), tables)]
    if EARLIER.exists():
        sections.append(Section("Earlier committed outcomes", (EARLIER_TEXT,), (_earlier_table(),)))
    write_text(out / "lead.md", "\n\n".join(map(markdown_text, lead.text)) + "\n")
    for name, table in (("questions", lead.table), ("effects", tables[-1])):
        write_text(out / f"{name}.md", to_markdown(table) + "\n")
    write_json(out / "lead.json", asdict(lead))
    write_text(out / "finding.csv", verdicts.to_csv(index=False))
    write_text(out / "effects.csv", effects.to_csv(index=False, float_format="%.6f"))
    save_figure(finding_figure(effects), out / "finding")
    write_playground(results, out / "playground.html")
    write_document(out / "finding", Document("The finding", tuple(sections)))
    print(*lead.text, sep="\n")
    return out / "finding.md"


def verdict_frame(results: dict[str, Results]) -> pd.DataFrame:
    """One row per claim and regime: id, claim, kind, beyond, regime, measured, MDE, verdict.

    A claim about two studies has the regime of the one that it speaks of, and stands there once.
    """
    reported, rows = reported_scores(), []
    for name, found in results.items():
        claims = claims_of(found.study)
        table = check_claims(found, claims, reported).to_dict("records")
        rows += [
            {"regime": name, "kind": claim.kind, "beyond": claim.beyond} | row
            for claim, row in zip(claims, table, strict=True)
        ]
    by_study = {found.study.name: (name, found) for name, found in results.items()}
    for claim in load_claims():
        if isinstance(claim, Direction) and {claim.study, claim.versus} <= set(by_study):
            (name, first), (_, second) = by_study[str(claim.study)], by_study[str(claim.versus)]
            pairs = zip(*(compare(claim_contrasts(found, claim)) for found in (first, second)), strict=True)
            pooled, *each = [between(*pair) for pair in pairs]
            row = {"regime": name, "kind": claim.kind, "beyond": claim.beyond, "id": claim.id, "claim": claim.statement}
            if pooled:
                row |= {"measured": points(pooled.value, pooled.low, pooled.high, pooled.df)}
                row |= {"MDE": f"{100 * pooled.detectable:.1f}"}
            rows.append(row | {"verdict": direction_verdict(claim, pooled, each)})
    return pd.DataFrame(rows).reindex(columns=VERDICT_COLUMNS)


def between(first: Comparison | None, second: Comparison | None) -> Comparison | None:
    """The difference of two independent comparisons, with Welch's degrees of freedom."""
    if first is None or second is None:
        return None
    variances = [first.se**2, second.se**2]
    parts = [variance**2 / part.df for variance, part in zip(variances, (first, second), strict=True) if variance > 0]
    df = sum(variances) ** 2 / sum(parts) if parts else math.inf
    found = Estimates(*(np.array([x]) for x in (first.value - second.value, math.sqrt(sum(variances)), df)))
    return with_intervals(found, True, (), (), first.problems)


def effect_frame(results: dict[str, Results]) -> pd.DataFrame:
    """`hdpo.report.gains.gain_frame` of every regime, corrected as one family, with a column `regime`."""
    frames = [gain_frame(found).assign(regime=name) for name, found in results.items()]
    return with_holm(pd.concat(frames, ignore_index=True))


def finding_figure(effects: pd.DataFrame) -> Figure:
    """pass@8 and greedy accuracy against λ, as differences to GRPO: a panel per regime and one for the paper."""
    use_style()
    whole = effects[(effects["subset"] == ALL) & effects["run"].str.match(r"hdpo-(drifting|frozen)-[\d.]+$")]
    drawn = pd.concat([whole, _reported(whole["run"].unique())], ignore_index=True)
    levels = sorted({parse_run(run).values[0] for run in drawn["run"]})
    panels = list(dict.fromkeys(drawn["regime"]))
    figure, axes = plt.subplots(1, len(panels), figsize=(PAGE_WIDTH, 3.0), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], panels, strict=True):
        for metric, (teacher, style, shift) in product(METRICS, TEACHERS):
            line = drawn[(drawn["regime"] == name) & (drawn["metric"] == metric)].set_index("run")
            line = 100 * line.reindex([f"hdpo-{teacher}-{level:g}" for level in levels])[["diff", "low", "high"]]
            ends = [line["diff"] - line["low"], line["high"] - line["diff"]]
            look = {"color": METRICS[metric][1], "ls": style, "marker": "o", "ms": 4, "lw": 1.1, "elinewidth": 0.9}
            look |= {"mfc": "white"} if teacher == "frozen" else {}
            axis.errorbar(np.arange(len(levels)) + shift, line["diff"], ends, **look)
        axis.axhline(0, color=PALETTE["black"], lw=0.9)
        axis.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        axis.set_xlabel("λ")
        axis.set_title(sentence_case(name), fontsize="medium")
    axes[0][0].set_ylabel("points above GRPO")
    state(figure, headline(whole))
    drifting, frozen = (
        plt.Line2D([], [], color="black", marker="o", ms=4, lw=1.1, ls=style, label=f"{name} teacher")
        for name, style, _ in TEACHERS
    )
    frozen.set_markerfacecolor("white")
    key(figure, [drifting, frozen, plt.Line2D([], [], color="black", marker="|", ms=9, ls="", label="95 % interval")])
    last = drawn[drawn["regime"] == panels[-1]].groupby("metric")["diff"].last()
    ends = [(label.replace(" ", "\n"), 100 * last[metric], color) for metric, (label, color) in METRICS.items()]
    name_ends({axes[0][-1]: ends})
    return figure


def headline(whole: pd.DataFrame) -> str:
    """The title of the lead figure: mean change in both metrics at the paper's λ = 0.1, by regime."""
    at = whole[whole["run"].str.endswith("-0.1") & whole["metric"].isin(METRICS)]
    means = 100 * at.groupby(["regime", "metric"], sort=False)["diff"].mean()
    parts = [
        f"{name} {signed(means[name, 'pass@8'])} pass@8, {signed(means[name, 'greedy'])} greedy"
        for name in dict.fromkeys(at["regime"])
    ]
    unbroken = "; ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    return f"HDPO at λ = 0.1, points above GRPO: {unbroken}"


def _reported(runs: Sequence[str]) -> pd.DataFrame:
    """The paper's differences to GRPO, mean of its two tables, without intervals."""
    reported, rows = reported_scores(), []
    for run, metric in product(runs, METRICS):
        found = reported_contrasts(reported, {run: 1.0, BASELINE: -1.0}, metric)
        if len(found):
            rows.append({"regime": "the paper's report", "run": run, "metric": metric, "diff": found.mean()})
    return pd.DataFrame(rows)


def _verdict_table(verdicts: pd.DataFrame, regimes: list[str]) -> Table:
    measured = verdicts["measured"].replace("—", None)
    cells = verdicts.assign(cell=verdicts["verdict"] + ("\n" + measured).fillna(""))
    wide = cells.pivot_table(index=["id", "claim"], columns="regime", values="cell", aggfunc="first", sort=False)
    wide = wide.reindex(columns=regimes).fillna("—").reset_index()
    return make_table("finding-verdicts", wide, caption("finding-verdicts"), words=list(wide.columns))


def _effect_table(effects: pd.DataFrame) -> Table:
    part = effects[effects["subset"] == ALL]
    long = part.assign(method=part["run"].map(run_label), cell=starred(part))
    wide = (
        long.groupby(["method", "regime", "seeds", "metric"], sort=False)["cell"]
        .first()
        .unstack(sort=False)
        .reset_index()
    )
    return make_table("finding-effects", wide, caption("finding-effects"), words=["method", "regime"])


def _earlier_table() -> Table:
    frame = pd.read_csv(EARLIER)
    frame["run"] = frame["commit"] + ", " + frame["date"] + ":\n" + frame["changed"]
    wide = frame.pivot_table(index=["id", "claim"], columns="run", values="verdict", aggfunc="first", sort=False)
    wide = wide.reset_index()
    return make_table("finding-earlier", wide, caption("finding-earlier"), words=list(wide.columns))
