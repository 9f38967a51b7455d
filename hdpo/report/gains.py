"""Where gains come from: differences to GRPO by kind of problem, cliffs converted, and what else training changes.

Problems are told apart by size, and by how often the base model solves them in its tries: never, rarely, often.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hdpo.claims.results import BASELINE, RARELY, Results, compare, unbiased_metrics
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import metric_label, points
from hdpo.render.runs import run_label
from hdpo.render.style import save_figure
from hdpo.render.table import Table, make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.gains_figure import ALL, CLASSES, LEVEL, gains_figure
from hdpo.report.statistics_tables import statistics_table
from hdpo.run.outcomes import DETAILS
from hdpo.stats.power import holm
from hdpo.study.study import BASE_RUN, Study

OUTSIDE = "pass@1"  # no member of the family of tests
ENDS = ("value", "low", "high", "df")
COLUMNS = ["run", "subset", "metric", "problems", "seeds", "diff", "low", "high", "df", "adds", "p", "p_holm"]
ARM_COLUMNS = ["run", "seeds", "hard", "tries", *ENDS, *(f"diff_{end}" for end in ENDS), *DETAILS]


def write_gains(study: Study) -> list[Path]:
    """Write gains.csv, gains_arms.csv, gains.md and gains.json, and figures/gains as PNG and PDF.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    results, stem = Results(study), study.root / "gains"
    gains, arms = gain_frame(results), arm_frame(results)
    for path, frame in ((stem.with_suffix(".csv"), gains), (stem.with_name("gains_arms.csv"), arms)):
        write_text(path, frame.to_csv(index=False, float_format="%.6f"))
    family = gains[in_family(gains)]
    tries = arms["tries"].max() if len(arms) else "all"
    tables = (
        statistics_table("gains-family", family, tests=family["p"].count()),
        _across("gains-base", gains[gains["subset"].isin(CLASSES)], rarely=f"{100 * RARELY:g}"),
        _across("gains-size", gains[gains["subset"].str.startswith("size ")]),
        statistics_table("gains-arms", arms, samples=study.evaluate.test_samples, tries=tries),
    )
    section = Section("", tuple(filter(None, [results.codes])), tables)
    write_document(stem, Document(f"Where the gains of study {study.name} come from", (section,)))
    save_figure(gains_figure(gains, results.runs), study.root / "figures" / "gains")
    return [*sorted(study.root.glob("gains*")), *sorted((study.root / "figures").glob("gains.*"))]


def gain_frame(results: Results) -> pd.DataFrame:
    """Paired differences to GRPO in shares, one row per run × subset of the test problems × unbiased metric.

    `adds` is what the subset adds to the difference over all problems. `p` is two-sided and stands beside the
    differences of planned runs over all problems. Runs that are not there and subsets of fewer than two problems have
    no row.
    """
    base, count, rows = results.final.get((BASE_RUN, 0)), results.study.task.problems.test, []
    sizes = [] if base is None else [f"size {size}" for size in np.unique(base.difficulty)]
    runs = [run for run in results.runs if run != BASELINE]
    for subset in (ALL, *sizes, *CLASSES):
        for metric in unbiased_metrics(results.study):
            differences = results.differences("test", metric, runs, None if subset == ALL else subset)
            for run, found in zip(runs, differences, strict=True):
                if found is None:
                    continue
                row = {"run": run, "subset": subset, "metric": metric, "problems": found.problems}
                row |= found.row | {"adds": found.value * found.problems / count}
                if subset != ALL or run not in results.study.runs:
                    del row["p"]
                rows.append(row)
    return with_holm(pd.DataFrame(rows, columns=COLUMNS).astype({"p": float}))


def in_family(frame: pd.DataFrame) -> pd.Series:
    """Which rows are the tests that are corrected together: over all problems, in every metric but pass@1."""
    return (frame["subset"] == ALL) & (frame["metric"] != OUTSIDE)


def with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with `p_holm` over its family; two studies' frames, joined, are one family."""
    family = in_family(frame).to_numpy()
    corrected = np.full(len(frame), np.nan)
    corrected[family] = holm(frame["p"].to_numpy()[family])
    return frame.assign(p_holm=corrected)


def starred(frame: pd.DataFrame) -> list[str]:
    """Each row's difference in points with its interval, and a star where it is seen: `p_holm` is at most .05."""
    cells = map(points, *(frame[end] for end in ("diff", "low", "high", "df")))
    return [cell + "*" * (p <= LEVEL) for cell, p in zip(cells, frame["p_holm"], strict=True)]


def arm_frame(results: Results) -> pd.DataFrame:
    """One row per run that is there, base model first: cliffs converted, and means over seeds and test problems.

    Of the `hard` problems, those that the base model never solves, the run solves a share (value, low, high, df) within
    its tries; diff_… is the difference to GRPO. Per sample: length in tokens, entropy in nats, `echoes` as a share.
    `distinct` correct solutions are per problem, and left out where they come from more samples than a trained run's.
    """
    runs, rows = [run for run in (BASE_RUN, *results.runs) if run in {name for name, _ in results.final}], []
    differences = [None if run in (BASE_RUN, BASELINE) else {run: 1.0, BASELINE: -1.0} for run in runs]
    weights = [*({run: 1.0} for run in runs), *differences]
    found = compare(results.contrasts("test", "conversion", weights, CLASSES[0]))
    for run, mean, difference in zip(runs, found[: len(runs)], found[len(runs) :], strict=True):
        outcomes = [outcomes for (name, _), outcomes in results.final.items() if name == run]
        tries, samples = int(outcomes[0].tries.max()), results.study.evaluate.test_samples
        row: dict[str, Any] = {"run": run, "seeds": len(outcomes), "hard": mean.problems if mean else 0, "tries": tries}
        row |= {name: float(np.mean([seed.details[name] for seed in outcomes])) for name in DETAILS}
        row["echoes"] /= tries if run == BASE_RUN else samples  # further tries of a trained run leave no details
        if run == BASE_RUN and tries != samples:
            row["distinct"] = np.nan
        for prefix, part in (("", mean), ("diff_", difference)):
            row |= {f"{prefix}{end}": getattr(part, end) for end in ENDS} if part else {}
        rows.append(row)
    return pd.DataFrame(rows, columns=ARM_COLUMNS)


def _across(id: str, frame: pd.DataFrame, **words: object) -> Table:
    """Methods and metrics down, subsets across with their number of problems."""
    cells = list(map(points, *(frame[column] for column in ("diff", "low", "high", "df"))))
    subsets = [f"{subset} ({count})" for subset, count in zip(frame["subset"], frame["problems"], strict=True)]
    down = {"method": frame["run"].map(run_label), "metric": frame["metric"].map(metric_label)}
    long = pd.DataFrame(down | {"subset": subsets, "cell": cells})
    wide = long.groupby([*down, "subset"], sort=False)["cell"].first().unstack(sort=False).fillna("—").reset_index()
    return make_table(id, wide, caption(id, **words), words=list(down))
