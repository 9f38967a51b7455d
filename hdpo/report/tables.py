"""The study's tables: its version of the paper's Table 1, beside the paper's own, and Table 2."""

from pathlib import Path

import pandas as pd

from hdpo.claims.reported import reported_score, reported_scores
from hdpo.claims.results import BASELINE, Results, metric_names, summarise
from hdpo.render.formats import DF_MEANS, metric_label, percent, points, run_label, write_table
from hdpo.report.cost import write_cost_table
from hdpo.report.hyperparameters import hyperparameter_table
from hdpo.study.study import BASE_RUN, Study

DIFFERENCE = ("diff", "diff_low", "diff_high", "diff_df")  # columns of the summary, in the order of `points`
PAPER_METRICS = {"greedy": "greedy", "pass@4": "any@4", "pass@8": "any@8"}  # paper's columns by its own estimator


def write_tables(study: Study, out: Path | None = None) -> list[Path]:
    """Write table1 (and its first block, headline), table1_paper, table2 and cost as .csv, .md and .tex.

    Cells of missing runs say so.

    Raises:
        UserError: a result is damaged or belongs elsewhere, or the paper's numbers cannot be read.
    """
    out = out or study.root / "tables"
    summary = summarise(Results(study))
    table1 = _wide(study, summary)
    write_table(out / "table1", table1, [_test_block(study, table1), _protocol_block(study, table1)])
    write_table(out / "headline", table1, [_test_block(study, table1)])
    beside = _beside_paper(study, summary)
    write_table(out / "table1_paper", beside, [_beside_values(study, beside), _beside_differences(study, beside)])
    table2 = hyperparameter_table(study)
    caption = (
        f"Table 2: hyperparameters of the paper and of study {study.name}; ≠ marks where they differ,"
        " [base] the default of the paper's base framework where the paper is silent."
    )
    write_table(out / "table2", table2, [(caption, table2.fillna(""))])
    write_cost_table(study, out / "cost")
    return sorted(out.iterdir())


def _metrics(study: Study) -> list[str]:
    return [metric for metric in metric_names(study) if not metric.startswith("any@")]


def _wide(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """One row per run: test mean and paired difference to GRPO, then best, last and selected, for each metric."""
    cells = summary.set_index(["run", "metric", "protocol"])
    rows = []
    for run in [BASE_RUN, *study.runs]:
        status = cells.loc[(run, "greedy", "test")]
        row = {"run": run, "seeds": status["seeds"], "status": status["status"], "problems": status["problems"]}
        row["training status"] = None if run == BASE_RUN else cells.loc[(run, "greedy", "best"), "status"]
        for metric in _metrics(study):
            test = cells.loc[(run, metric, "test")]
            row |= {f"{metric} test": test["mean"]}
            row |= {f"{metric} {part}": test[part] for part in DIFFERENCE}
            for protocol in ("best", "last", "selected"):
                row[f"{metric} {protocol}"] = None if run == BASE_RUN else cells.loc[(run, metric, protocol), "mean"]
        rows.append(row)
    return pd.DataFrame(rows)


def _test_block(study: Study, table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    shown = pd.DataFrame({"method": table["run"].map(run_label), "seeds": _seeds(table)})
    for metric in _metrics(study):
        shown[metric_label(metric)] = table[f"{metric} test"].map(percent)
        ends = table[[f"{metric} {part}" for part in DIFFERENCE]].astype(float)
        shown[f"Δ {metric_label(metric)}"] = [points(*row) for row in ends.itertuples(index=False)]
    caption = (
        f"Table 1, study {study.name}: final weights on {table['problems'].max()} test problems, %, mean over seeds;"
        f" Δ is the difference to GRPO in points with its paired 95 % t interval; {DF_MEANS}."
        f" pass@k from {study.evaluate.test_samples} samples per problem."
    )
    return caption, shown


def _protocol_block(study: Study, table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    table = table[table["run"] != BASE_RUN]
    complete = {"complete": str(len(study.seeds))}
    shown = pd.DataFrame({"method": table["run"].map(run_label), "seeds": table["training status"].replace(complete)})
    for metric in _metrics(study):
        for protocol in ("best", "last", "selected"):
            shown[f"{metric_label(metric)} {protocol}"] = table[f"{metric} {protocol}"].map(percent)
    caption = (
        f"The same runs on {study.task.problems.validation} validation problems, %: best evaluation during training"
        " (as the paper reports), last, and selected on the development problems."
    )
    return caption, shown


def _seeds(table: pd.DataFrame) -> list[str]:
    return [
        f"{row.seeds}" if row.status == "complete" else row.status for row in table[["seeds", "status"]].itertuples()
    ]


def _beside_paper(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """Long form: one row per run × metric × source, for the runs that the paper has; best over training."""
    cells = summary[summary["protocol"] == "best"].set_index(["run", "metric"])
    reported, rows = reported_scores(), []
    for run in dict.fromkeys(reported["run"]):
        for column, metric in PAPER_METRICS.items():
            for table, hardware in dict(zip(reported["table"], reported["hardware"], strict=True)).items():
                value = reported_score(reported, table, run, column)
                difference = value - reported_score(reported, table, BASELINE, column)
                row = {
                    "run": run,
                    "metric": column,
                    "source": f"paper Table {table} ({hardware.replace('x', '×')})",
                    "seeds": 1,
                    "value": value,
                }
                rows.append(row | {"diff": difference if run != BASELINE else None})
            row = {"run": run, "metric": column, "source": _source(study), "seeds": 0}
            if (run, metric) in cells.index:
                own = cells.loc[(run, metric)]
                row |= {"seeds": own["seeds"], "value": own["mean"]}
                row |= {part: own[part] for part in DIFFERENCE}
            rows.append(row)
    return pd.DataFrame(rows, columns=["run", "metric", "source", "seeds", "value", *DIFFERENCE])


def _pivot(table: pd.DataFrame, cell) -> pd.DataFrame:
    """Runs down, metric × source across, each cell put by `cell(row)`."""
    rows = {}
    for row in table.itertuples(index=False):
        rows.setdefault(run_label(row.run), {})[f"{_paper_label(row.metric)}: {row.source}"] = cell(row)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method").reset_index()


def _paper_label(metric: str) -> str:
    return "pass@1 (greedy)" if metric == "greedy" else metric


def _beside_values(study: Study, table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    caption = "The paper's Tables 1 and 3 beside this study, all as the paper reports: best over training, any of k, %."
    return caption, _pivot(table, lambda row: percent(row.value) + _partial(study, row))


def _beside_differences(study: Study, table: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    caption = (
        "The same as differences to GRPO, in points. The paper has one seed and no interval;"
        f" study {study.name} has {len(study.seeds)} seeds and the paired 95 % t interval; {DF_MEANS}."
    )
    shown = table[table["run"] != BASELINE]
    return caption, _pivot(
        shown, lambda row: points(row.diff, row.diff_low, row.diff_high, row.diff_df) + _partial(study, row)
    )


def _partial(study: Study, row) -> str:
    """Says so where a cell of this study rests on some of its seeds only."""
    if row.source != _source(study) or row.seeds in (0, len(study.seeds)):
        return ""
    return f" ({row.seeds} of {len(study.seeds)} seeds)"


def _source(study: Study) -> str:
    return f"study {study.name}"
