"""The study's tables: its own Table 1, the same beside the paper's, and the paper's Table 2."""

from pathlib import Path

import pandas as pd

from hdpo.claims.reported import reported_score, reported_scores
from hdpo.claims.results import BASELINE, Results, metric_names, summarise
from hdpo.render.formats import DF_MEANS, metric_label, percent, points
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table, write_table
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
    summary = summarise(Results(study))
    wide = wide_scores(study, summary)
    headline = headline_table(study, wide)
    write_table(out / "table1", wide, headline, protocol_table(study, wide))
    write_table(out / "headline", wide, headline)
    beside = _beside_paper(study, summary)
    write_table(out / "table1_paper", beside, _beside_values(study, beside), _beside_differences(study, beside))
    table2 = hyperparameter_table(study)
    caption = (
        f"Table 2: hyperparameters of the paper and of study {study.name}; ≠ marks where they differ,"
        " [base] the default of the paper's base framework where the paper is silent."
    )
    shown = make_table("hyperparameters", table2.fillna(""), caption, words=table2.columns)
    write_table(out / "table2", table2, shown)
    write_cost_table(study, out / "cost")
    return sorted(out.iterdir())


def _metrics(study: Study) -> list[str]:
    return [metric for metric in metric_names(study) if not metric.startswith("any@")]


def wide_scores(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """One row per run: test mean and paired difference to GRPO, then best, last and selected, for each metric."""
    cells = summary.set_index(["run", "metric", "protocol"])
    rows = []
    for run in dict.fromkeys(summary["run"]):
        test, trained = cells.loc[(run, "greedy", "test")], run != BASE_RUN
        row = {"run": run, "seeds": test["seeds"], "status": test["status"], "problems": test["problems"]}
        training = cells.loc[(run, "greedy", "best")] if trained else {"status": None, "seeds": None}
        row |= {f"training {name}": training[name] for name in ("status", "seeds")}
        for metric in _metrics(study):
            test = cells.loc[(run, metric, "test")]
            row |= {f"{metric} test": test["mean"]}
            row |= {f"{metric} {part}": test[part] for part in DIFFERENCE}
            for protocol in TRAINING:
                row[f"{metric} {protocol}"] = cells.loc[(run, metric, protocol), "mean"] if trained else None
        rows.append(row)
    return pd.DataFrame(rows)


def headline_table(study: Study, wide: pd.DataFrame) -> Table:
    """Test scores and differences to GRPO, grouped by metric, from `wide_scores`."""
    seeds = [_seeds(*pair) for pair in zip(wide["status"], wide["seeds"], strict=True)]
    columns, groups = [wide["run"].map(run_label).rename("method"), pd.Series(seeds, name="seeds")], ["", ""]
    for metric in _metrics(study):
        columns.append(wide[f"{metric} test"].map(percent).rename("%"))
        ends = wide[[f"{metric} {part}" for part in DIFFERENCE]].astype(float)
        columns.append(ends.apply(lambda row: points(*row), axis=1).rename("Δ"))
        groups += [metric_label(metric)] * 2
    caption = (
        f"Table 1, study {study.name}: final weights on {wide['problems'].max()} test problems, %, mean over seeds;"
        f" Δ is the difference to GRPO in points with its paired 95 % t interval; {DF_MEANS}."
        f" pass@k comes from {study.evaluate.test_samples} samples per problem."
    )
    has_extra = not set(wide["run"]) <= {BASE_RUN, *study.runs}
    notes = ["Extra runs were made by hand, outside the study's list."] if has_extra else []
    return make_table("headline", pd.concat(columns, axis=1), caption, groups=groups, notes=notes)


def protocol_table(study: Study, wide: pd.DataFrame) -> Table:
    """Validation scores by the checkpoint that is scored, grouped by metric, from `wide_scores`."""
    wide = wide[wide["run"] != BASE_RUN].reset_index(drop=True)
    seeds = [_seeds(*pair) for pair in zip(wide["training status"], wide["training seeds"], strict=True)]
    columns, groups = [wide["run"].map(run_label).rename("method"), pd.Series(seeds, name="seeds")], ["", ""]
    for metric in _metrics(study):
        columns += [wide[f"{metric} {protocol}"].map(percent).rename(protocol) for protocol in TRAINING]
        groups += [metric_label(metric)] * len(TRAINING)
    caption = (
        f"The same runs on {study.task.problems.validation} validation problems, %: best evaluation during training"
        " (as the paper reports), last evaluation, and the one selected on the development problems."
    )
    return make_table("protocols", pd.concat(columns, axis=1), caption, groups=groups)


def _seeds(status: str, seeds: int) -> str:
    """What a table says of a run's seeds: their number where the run is complete, else its status."""
    return f"{seeds:g} ({status})" if status.startswith("extra") else status.replace("complete", f"{seeds:g}")


def _beside_paper(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """Long form: one row per run × metric × source, for the runs that the paper has; best over training."""
    cells = summary[summary["protocol"] == "best"].set_index(["run", "metric"])
    reported, rows = reported_scores(), []
    for run in dict.fromkeys(reported["run"]):
        for column, metric in PAPER_METRICS.items():
            for table, hardware in dict(zip(reported["table"], reported["hardware"], strict=True)).items():
                value = reported_score(reported, table, run, column)
                difference = value - reported_score(reported, table, BASELINE, column)
                row = {"run": run, "metric": column, "seeds": 1, "value": value}
                row |= {"source": f"paper Table {table} ({hardware.replace('x', '×')})"}
                rows.append(row | {"diff": difference if run != BASELINE else None})
            row = {"run": run, "metric": column, "source": _source(study), "seeds": 0}
            if (run, metric) in cells.index:
                own = cells.loc[(run, metric)]
                row |= {"seeds": own["seeds"], "value": own["mean"]}
                row |= {part: own[part] for part in DIFFERENCE}
            rows.append(row)
    return pd.DataFrame(rows, columns=["run", "metric", "source", "seeds", "value", *DIFFERENCE])


def _beside_values(study: Study, long: pd.DataFrame) -> Table:
    caption = "The paper's Tables 1 and 3 beside this study, all as the paper reports: best over training, any of k, %."
    return _pivot("beside", caption, long, lambda row: percent(row.value) + _partial(study, row))


def _beside_differences(study: Study, long: pd.DataFrame) -> Table:
    caption = (
        "The same as differences to GRPO, in points. The paper has one seed and no interval;"
        f" study {study.name} has {len(study.seeds)} seeds and the paired 95 % t interval; {DF_MEANS}."
    )
    long = long[long["run"] != BASELINE]

    def cell(row) -> str:
        return points(row.diff, row.diff_low, row.diff_high, row.diff_df) + _partial(study, row)

    return _pivot("beside-differences", caption, long, cell)


def _pivot(id: str, caption: str, long: pd.DataFrame, cell) -> Table:
    """Runs down, metrics and below them sources across; `cell(row)` fills each place."""
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for row in long.itertuples(index=False):
        metric = "pass@1 (greedy)" if row.metric == "greedy" else row.metric
        rows.setdefault(run_label(row.run), {})[metric, row.source] = cell(row)
    groups, sources = zip(*next(iter(rows.values())), strict=True)
    cells = [[run, *row.values()] for run, row in rows.items()]
    return make_table(id, pd.DataFrame(cells, columns=["method", *sources]), caption, groups=["", *groups])


def _partial(study: Study, row) -> str:
    """Says so where a cell of this study rests on some of its seeds only."""
    if row.source != _source(study) or row.seeds in (0, len(study.seeds)):
        return ""
    return f" ({row.seeds} of {len(study.seeds)} seeds)"


def _source(study: Study) -> str:
    return f"study {study.name}"
