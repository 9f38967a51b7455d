"""The study's wider statistics as they are read: captions and cells, from the frames of `run_statistics`."""

import math

import pandas as pd

from hdpo.render.formats import NOT_RUN, beside, degrees, metric_label, percent, points, run_label
from hdpo.study.study import Study


def errors_block(study: Study, runs: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    shown = _names(runs) | {"Δ to GRPO": [points(value) if seeds else NOT_RUN for value, seeds in _of(runs, "diff")]}
    shown |= {"SE": [_points(value) for value in runs["se"]], "df": [degrees(value) or "—" for value in runs["df"]]}
    for column, label in (("se_seed", "by seed"), ("se_problem", "by problem"), ("se_two_way", "both")):
        shown[f"SE {label}"] = [_points(value) for value in runs[column]]
    shown["seeds for Δ"] = [_whole(value) for value in runs["seeds_for_diff"]]
    shown["seeds for 1 point"] = [_whole(value) for value in runs["seeds_for_target"]]
    shown["problems for 1 point"] = [_whole(value) for value in runs["problems_for_target"]]
    caption = (
        f"Differences to GRPO on {study.task.problems.test} test problems, in points, with their standard errors: of"
        " the crossed model that verdicts use, with its degrees of freedom df, and clustered by seed, by problem and by"
        " both; and the seeds that would find this difference, or one point, with 80 % power at two-sided 5 % on as"
        " many problems (by variances estimated on few seeds: an order of magnitude; “—” where no number does); last,"
        " the problems for one point with 10 seeds."
    )
    return caption, pd.DataFrame(shown)


def robust_block(runs: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    shown = _names(runs)
    for name, label in (("iqm", "IQM, %"), ("iqm_baseline", "GRPO's")):
        shown[label] = [percent(value) if pd.notna(value) else "—" for value in runs[name]]
    df = (runs["seeds"] - 1.0).where(runs["seeds"] > 1)
    ends = runs[["iqm_diff", "iqm_diff_low", "iqm_diff_high"]].astype(float).assign(df=df)
    shown["Δ IQM"] = [points(*row) for row in ends.itertuples(index=False)]
    ends = runs[["improvement", "improvement_low", "improvement_high"]].astype(float).assign(df=df)
    shown["P(improvement), %"] = [_range(*row) for row in ends.itertuples(index=False)]
    shown["gained/lost"] = [
        f"{gained:.0f}/{lost:.0f}" if pd.notna(gained) else "—"
        for gained, lost in runs[["gained", "lost"]].astype(float).itertuples(index=False)
    ]
    shown["McNemar p, by seed"] = runs["mcnemar_p"].astype(object).fillna("—")
    caption = (
        "Interquartile mean over seeds and problems and its difference to GRPO's, and chance that a run beats GRPO's on"
        " the same problem (ties count half), with 95 % percentile bootstrap intervals over seeds and problems, since"
        " neither has a closed form (they hold the truth in 90 to 98 % of simulated studies with three seeds; df, the"
        " degrees of freedom of their ends, is seeds − 1). Greedy outcomes are 0 or 1: instead of"
        " the IQM, the problems gained and lost over all seeds and McNemar's exact p for each seed."
    )
    return caption, pd.DataFrame(shown)


def claims_block(claims: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    shown = {"id": claims["id"], "claim": claims["claim"]}
    shown["Δ"] = [points(value) if pd.notna(value) else NOT_RUN for value in claims["diff"]]
    shown["df"] = [degrees(value) or "—" for value in claims["df"]]
    shown |= {name: [_p(value) for value in claims[key]] for name, key in (("p", "p"), ("p, Holm", "p_holm"))}
    caption = (
        "Directional claims: two-sided p of the paired difference by Student's t with df degrees of freedom, alone and"
        " adjusted by Holm over the paper's claims (those beyond it by themselves). In addition to the verdicts, whose"
        " rules use no adjustment."
    )
    return caption, pd.DataFrame(shown)


def passk_block(passk: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    shown = {"method": passk["run"].map(run_label), "k": passk["k"].astype(str), "seeds": passk["seeds"].astype(str)}
    shown["pass@k, %"] = [percent(value) for value in passk["mean"]]
    shown |= {f"SE {name}": [_points(value) for value in passk[f"se_{name}"]] for name in ("samples", "problems")}
    ends = passk[["posterior", "posterior_low", "posterior_high"]].astype(float)
    shown["posterior, %"] = [_range(*row) for row in ends.itertuples(index=False)]
    caption = (
        "pass@k of the final weights: standard errors in points for new samples on the same problems (needs n ≥ 2k) and"
        " for new problems, and the posterior mean with its 95 % credible interval under a beta difficulty fitted to"
        " the run (normal, as a mean over many problems: no degrees of freedom). All for these weights:"
        " none holds run-to-run error."
    )
    return caption, pd.DataFrame(shown)


def selection_block(selection: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    averages = [
        f"{metric_label(metric)} {_points(part['optimism'].mean())} ({_points(part['expected'].mean())})"
        for metric, part in selection.groupby("metric", sort=False)
    ]
    selection = selection[~selection["metric"].str.startswith("any@")]
    shown = _names(selection) | {"evaluations": selection["evaluations"].astype(str)}
    shown |= {f"{name}, %": [percent(value) for value in selection[name]] for name in ("best", "last", "selected")}
    shown |= {
        label: [_points(value) for value in selection[key]]
        for label, key in (("optimism of best", "optimism"), ("if flat", "expected"), ("noise", "noise"))
    }
    caption = (
        "Selection on the maximum, validation problems: best, last and selected on development; the part of best's lead"
        " over its curve that does not show on the development problems; what a flat curve with this noise between"
        " evaluations would give. In points, mean over seeds."
        + (f" Mean over runs: {', '.join(averages)}." if averages else "")
    )
    return caption, pd.DataFrame(shown)


def _names(frame: pd.DataFrame) -> dict[str, object]:
    return {"method": frame["run"].map(run_label), "metric": frame["metric"].map(metric_label)}


def _of(frame: pd.DataFrame, column: str):
    return zip(frame[column], frame["seeds"], strict=True)


def _points(value: float) -> str:
    return f"{100 * value:.2f}".replace("-", "−") if pd.notna(value) else "—"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if pd.notna(value) else "—"


def _p(value: float) -> str:
    return "—" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _range(value: float, low: float, high: float, df: float = math.nan) -> str:
    return "—" if pd.isna(value) else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]{beside(df)}"
