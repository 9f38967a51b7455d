"""The study's tables: its own Table 1, the same beside the paper's, and the paper's Table 2."""

from itertools import product
from pathlib import Path

import pandas as pd

from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import BASELINE, Results, unbiased_metrics
from hdpo.claims.summary import summarise
from hdpo.render.formats import metric_label, percent, points
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table, write_table
from hdpo.report.captions import caption
from hdpo.report.hyperparameters import hyperparameter_table
from hdpo.report.job_costs import write_cost_table
from hdpo.study.study import BASE_RUN, Study

DIFFERENCE = ("diff", "diff_low", "diff_high", "diff_df")  # columns of the summary, in the order of `points`
PAPER_METRICS = {"greedy": "greedy", "pass@4": "any@4", "pass@8": "any@8"}  # the paper's columns by its own estimator
TRAINING = ("best", "last", "selected")


def write_tables(study: Study, out: Path | None = None) -> list[Path]:
    """Write table1 (and its first table alone, headline), table1_paper, table2 and cost as .csv, .json, .md and .tex.

    Cells of missing runs say so.

    Raises:
        UserError: a result is damaged or belongs elsewhere, or the paper's numbers cannot be read.
    """
    out = out or study.root / "tables"
    results = Results(study)
    summary = summarise(results)
    wide = wide_scores(study, summary)
    headline = headline_table(study, wide, results.codes)
    write_table(out / "table1", wide, headline, protocol_table(study, wide))
    write_table(out / "headline", wide, headline)
    beside = _beside_paper(study, summary)
    values = _pivot(study, "beside", beside, beside["value"].map(percent))
    others = beside[beside["run"] != BASELINE]
    gains = others[[*DIFFERENCE]].astype(float).apply(lambda row: points(*row), axis=1)
    differences = _pivot(study, "beside-differences", others, gains)
    write_table(out / "table1_paper", beside, values, differences)
    table2 = hyperparameter_table(study)
    words = caption("hyperparameters", study=study.name)
    write_table(out / "table2", table2, make_table("hyperparameters", table2, words, words=table2.columns))
    write_cost_table(study, out / "cost")
    return sorted(out.iterdir())


def wide_scores(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """One row per run: test mean and paired difference to GRPO, then best, last and selected, for each metric."""
    cells = summary.set_index(["protocol", "metric", "run"]).sort_index()
    test, best = cells.loc[("test", "greedy")], cells.loc[("best", "greedy")]
    columns = {name: test[name] for name in ("seeds", "status", "problems")}
    columns |= {f"training {name}": best[name] for name in ("status", "seeds")}
    for metric in unbiased_metrics(study):
        test = cells.loc[("test", metric)]
        columns |= {f"{metric} test": test["mean"]} | {f"{metric} {part}": test[part] for part in DIFFERENCE}
        columns |= {f"{metric} {protocol}": cells.loc[(protocol, metric), "mean"] for protocol in TRAINING}
    return pd.DataFrame(columns).loc[summary["run"].unique()].rename_axis("run").reset_index()


def headline_table(study: Study, wide: pd.DataFrame, codes: str) -> Table:
    """Test scores and differences to GRPO, grouped by metric, from `wide_scores`; `codes` is a note, "" for none."""
    shown = _runs_and_seeds(wide, wide["status"], wide["seeds"])
    for metric in unbiased_metrics(study):
        ends = wide[[f"{metric} {part}" for part in DIFFERENCE]].astype(float)
        shown[metric_label(metric), "%"] = wide[f"{metric} test"].map(percent)
        shown[metric_label(metric), "Δ"] = ends.apply(lambda row: points(*row), axis=1)
    words = caption("headline", study=study.name, problems=wide["problems"].max(), samples=study.evaluate.test_samples)
    has_extra = not set(wide["run"]) <= {BASE_RUN, *study.runs}
    notes = ["Extra runs were made by hand, outside the study's list."] if has_extra else []
    return make_table("headline", pd.DataFrame(shown), words, notes=[*notes, *filter(None, [codes])])


def protocol_table(study: Study, wide: pd.DataFrame) -> Table:
    """Validation scores by the checkpoint that is scored, grouped by metric, from `wide_scores`."""
    wide = wide[wide["run"] != BASE_RUN]
    shown = _runs_and_seeds(wide, wide["training status"], wide["training seeds"])
    for metric in unbiased_metrics(study):
        for protocol in TRAINING:
            shown[metric_label(metric), protocol] = wide[f"{metric} {protocol}"].map(percent)
    words = caption("protocols", problems=study.task.problems.validation)
    return make_table("protocols", pd.DataFrame(shown), words)


def _runs_and_seeds(wide: pd.DataFrame, status: pd.Series, seeds: pd.Series) -> dict[tuple[str, str], pd.Series]:
    """The first columns of a table of scores; both belong to no group."""
    counts = pd.Series(list(map(_seeds, status, seeds)), wide.index)
    return {("", "method"): wide["run"].map(run_label), ("", "seeds"): counts}


def _seeds(status: str, seeds: int) -> str:
    """What a table says of a run's seeds: their number where the run is complete, else its status."""
    return f"{seeds:g} ({status})" if status.startswith("extra") else status.replace("complete", f"{seeds:g}")


def _beside_paper(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """Long form: one row per run × metric × source, for the runs that the paper has; best over training."""
    own = summary[summary["protocol"] == "best"].rename(columns={"mean": "value"}).set_index(["run", "metric"])
    reported, rows = reported_scores(), []
    tables = dict(zip(reported["table"], reported["hardware"].str.replace("x", "×"), strict=True))
    for run, (column, metric) in product(reported["run"].unique(), PAPER_METRICS.items()):
        values = reported_contrasts(reported, {run: 1.0}, column)
        gains = reported_contrasts(reported, {run: 1.0, BASELINE: -1.0}, column) if run != BASELINE else {}
        for table, hardware in tables.items():
            row = {"run": run, "metric": column, "source": f"paper Table {table} ({hardware})", "seeds": 1}
            rows.append(row | {"value": values[table], "diff": gains.get(table)})
        row = {"run": run, "metric": column, "source": _source(study), "seeds": 0}
        rows.append(row | (dict(own.loc[(run, metric)]) if (run, metric) in own.index else {}))
    return pd.DataFrame(rows, columns=["run", "metric", "source", "seeds", "value", *DIFFERENCE])


def _pivot(study: Study, id: str, long: pd.DataFrame, cells: pd.Series) -> Table:
    """Runs down, metrics and below them sources across. A cell of this study says if some of its seeds are missing."""
    partial = (long["source"] == _source(study)) & ~long["seeds"].isin([0, len(study.seeds)])
    cells = cells.where(~partial, cells + " (" + long["seeds"].astype(str) + f" of {len(study.seeds)} seeds)")
    across = [long["metric"].replace("greedy", "pass@1 (greedy)"), long["source"]]
    wide = cells.groupby([long["run"].map(run_label), *across], sort=False).first().unstack([1, 2])
    wide.insert(0, ("", "method"), wide.index)
    return make_table(id, wide, caption(id, study=study.name, seeds=len(study.seeds)))


def _source(study: Study) -> str:
    return f"study {study.name}"
