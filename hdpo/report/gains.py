"""Where gains come from: differences to GRPO by kind of problem, cliffs converted, and what else training changes.

Problems are told apart by size, and by how often the base model solves them in its tries: never, rarely, often.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdpo.claims.results import BASELINE, RARELY, Comparison, Results, compare, unbiased_metrics
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import metric_label, points
from hdpo.render.runs import family_label, parse_run, run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, save_figure, use_style
from hdpo.render.table import Table, make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.figures import PERCENT
from hdpo.report.run_style import line_style, marker, paths
from hdpo.report.statistics_tables import statistics_table
from hdpo.run.outcomes import DETAILS
from hdpo.stats.power import holm, two_sided_p
from hdpo.study.study import BASE_RUN, Study

ALL = "all"
CLASSES = ("base never", "base rarely", "base often")
OUTSIDE = "pass@1"  # of the family of tests: greedy accuracy stands for it
LEVEL = 0.05  # of the corrected p up to which a difference of the family counts as seen
DRAWN = ("greedy", "pass@8")
ENDS = ("value", "low", "high", "df")
COLUMNS = ["run", "subset", "metric", "problems", "seeds", "diff", "low", "high", "df", "share", "p", "p_holm"]
ARM_COLUMNS = ["run", "seeds", "hard", "tries", *(f"{of}{end}" for of in ("", "diff_") for end in ENDS)]


def write_gains(study: Study) -> list[Path]:
    """Write gains.csv, gains_arms.csv, gains.md and gains.json, and figures/gains as PNG and PDF.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    results, stem = Results(study), study.root / "gains"
    gains, arms = gain_frame(results), arm_frame(results)
    for path, frame in ((stem.with_suffix(".csv"), gains), (stem.with_name("gains_arms.csv"), arms)):
        write_text(path, frame.to_csv(index=False, float_format="%.6f"))
    family = gains[gains["p_holm"].notna()]
    tables = (
        statistics_table("gains-family", family, tests=len(family)),
        _by_subset("gains-size", gains[gains["subset"].str.startswith("size ")]),
        _by_subset("gains-base", gains[gains["subset"].isin(CLASSES)], rarely=f"{RARELY:g}"),
        statistics_table("gains-arms", arms, samples=study.evaluate.test_samples, tries=_most(arms["tries"])),
    )
    section = Section("", tuple(filter(None, [results.codes])), tables)
    write_document(stem, Document(f"Where the gains of study {study.name} come from", (section,)))
    save_figure(draw_gains(gains, results.runs), study.root / "figures" / "gains")
    return [*sorted(study.root.glob("gains*")), *sorted((study.root / "figures").glob("gains.*"))]


def gain_frame(results: Results) -> pd.DataFrame:
    """Differences to GRPO, paired: one row per run × subset of the test problems × unbiased metric, in shares.

    `share`: what the subset adds to the difference over all problems. `p`: two-sided, of all problems. Subsets of
    fewer than two problems, and runs that are not there, have no row.
    """
    base, rows = results.final.get((BASE_RUN, 0)), []
    sizes = [] if base is None else [f"size {size}" for size in np.unique(base.difficulty)]
    weights = {run: {run: 1.0, BASELINE: -1.0} for run in results.runs if run != BASELINE}
    for subset in (ALL, *sizes, *CLASSES):
        for metric in unbiased_metrics(results.study):
            parts = results.contrasts("test", metric, list(weights.values()), None if subset == ALL else subset)
            for run, found in zip(weights, compare(parts), strict=True):
                if found is not None:
                    row = {"run": run, "subset": subset, "metric": metric, "problems": found.problems}
                    row |= {"seeds": len(found.seeds), "diff": found.value, "low": found.low, "high": found.high}
                    row |= {"df": found.df, "share": found.value * found.problems / results.study.task.problems.test}
                    if subset == ALL and len(found.seeds) > 1:
                        row["p"] = two_sided_p(found.value, found.se, found.df)
                    rows.append(row)
    return with_holm(pd.DataFrame(rows, columns=COLUMNS))


def with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, or several of `gain_frame` joined, with `p_holm` over its family: all problems, all but pass@1."""
    family = (frame["subset"] == ALL) & (frame["metric"] != OUTSIDE)
    return frame.assign(p_holm=pd.Series(holm(frame.loc[family, "p"].to_numpy(dtype=float)), frame.index[family]))


def arm_frame(results: Results) -> pd.DataFrame:
    """One row per run that is there, base model first: cliffs converted, and means over seeds and test problems.

    Columns: `hard`, the problems that the base model never solves; the share of them that the run solves within its
    tries (value, low, high, df), and its difference to GRPO (diff_…); per problem or sample, `DETAILS` with `echoes` as a
    share of the samples, and `distinct` only where it comes from as many samples as a trained run's.
    """
    runs, n = [run for run in (BASE_RUN, *results.runs) if any(name == run for name, _ in results.final)], []
    weights = [{run: 1.0} for run in runs] + [None if run == BASELINE else {run: 1.0, BASELINE: -1.0} for run in runs]
    compared = compare(results.contrasts("test", "conversion", weights, CLASSES[0]))
    rows = []
    for run, mean, difference in zip(runs, compared[: len(runs)], compared[len(runs) :], strict=True):
        found = [outcomes for (name, _), outcomes in results.final.items() if name == run]
        n = found[0].tries.max() if run == BASE_RUN else found[0].samples.shape[-1]  # samples behind the details
        row = {"run": run, "seeds": len(found), "hard": mean.problems if mean else np.nan}
        row |= {"tries": int(found[0].tries.max())} | _ends("", mean) | _ends("diff_", difference)
        row |= {name: float(np.mean([outcomes.details[name].mean() for outcomes in found])) for name in DETAILS}
        row["echoes"] /= n
        if n != found[0].samples.shape[-1]:
            row["distinct"] = np.nan
        rows.append(row)
    return pd.DataFrame(rows, columns=[*ARM_COLUMNS, *DETAILS])


def _ends(prefix: str, found: Comparison | None) -> dict[str, float]:
    return {f"{prefix}{end}": getattr(found, end) for end in ENDS} if found else {}


def _most(counts: pd.Series) -> int:
    return int(counts.max()) if len(counts) else 0


def _by_subset(id: str, frame: pd.DataFrame, **words: object) -> Table:
    """Methods and metrics down, subsets with their number of problems across."""
    titles = frame["subset"].str.cat(frame["problems"].astype(str), " (") + ")"
    cells = [points(*row) for row in frame[["diff", "low", "high", "df"]].itertuples(index=False)]
    shown = frame.assign(method=frame["run"].map(run_label), metric=frame["metric"].map(metric_label), cell=cells)
    wide = shown.groupby(["method", "metric", titles], sort=False)["cell"].first().unstack() if len(frame) else shown
    wide = wide[titles.unique()].reset_index() if len(frame) else pd.DataFrame(columns=["method", "metric"])
    return make_table(id, wide, caption(id, **words), words=("method", "metric"))


def message(frame: pd.DataFrame) -> str:
    """What the figure shows, in a line: where the gains in pass@8 that outlive Holm's correction come from."""
    last = frame[frame["metric"] == DRAWN[-1]]
    gainers = last.loc[(last["subset"] == ALL) & (last["p_holm"] <= LEVEL) & (last["diff"] > 0), "run"]
    if gainers.empty:
        return f"No method gains on GRPO in {DRAWN[-1]}"
    shares = last[last["run"].isin(gainers) & last["subset"].isin(CLASSES)].groupby("subset")["share"].sum()
    if shares.empty:
        return f"{len(gainers)} methods gain on GRPO in {DRAWN[-1]}"
    much = "mostly" if shares.max() > shares.sum() / 2 else "most"
    return f"Gains in {DRAWN[-1]} come {much} from problems that the base model solves {shares.idxmax().split()[1]}"


def draw_gains(frame: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """What each class of problems adds to the difference to GRPO, and their sum: a row per metric, a line per family."""
    use_style()
    columns = [*(subset for subset in CLASSES if (frame["subset"] == subset).any()), ALL]
    size = (PAGE_WIDTH, 4.2)
    figure, axes = plt.subplots(len(DRAWN), len(columns), figsize=size, sharex=True, sharey="row", squeeze=False)
    families = [path for path in paths(runs) if set(path) & set(frame["run"])]
    levels = sorted({parse_run(run).level for path in families for run in path})
    for metric, row in zip(DRAWN, axes, strict=True):
        row[0].set_ylabel(f"{metric} − GRPO's, points")
        for subset, axis in zip(columns, row, strict=True):
            part = frame[(frame["metric"] == metric) & (frame["subset"] == subset)].set_index("run")
            axis.axhline(0, color=PALETTE["black"], lw=1.0)
            for place, path in enumerate(families):
                shown = part.reindex([run for run in path if run in part.index])
                x = [levels.index(parse_run(run).level) + 0.12 * (place - (len(families) - 1) / 2) for run in shown.index]
                weight = (shown["share"] / shown["diff"]).fillna(1)
                spread = [(shown["diff"] - shown["low"]) * weight, (shown["high"] - shown["diff"]) * weight]
                style = line_style(path[0], runs)
                axis.errorbar(x, shown["share"], np.nan_to_num(spread), **style, marker="o", ms=3.5, elinewidth=0.9)
