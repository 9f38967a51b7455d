"""The main contrast by the size of the model: HDPO − GRPO against the number of parameters, in each regime."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hdpo.claims.registration import regime, remarks
from hdpo.claims.results import Results
from hdpo.plan.shape import study_shape
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import metric_label, points, sentence_case, signed, thousands
from hdpo.render.labels import state
from hdpo.render.style import PAGE_WIDTH, PALETTE, save_figure, use_style
from hdpo.render.table import make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.cliff_map_rows import depth_of
from hdpo.report.run_style import METRICS
from hdpo.study.study import Study

RUN = "hdpo-drifting-1"


def write_sizes(studies: Sequence[Study], out: Path = Path("results/sizes")) -> Path:
    """Write sizes.md, .json, .csv, and the figure as PNG and PDF.

    Raises:
        UserError: a study's base model is not evaluated or unknown, or a result is damaged or belongs elsewhere.
    """
    results = [Results(study) for study in studies]
    frame = size_frame(results)
    write_text(out / "sizes.csv", frame.to_csv(index=False, float_format="%.6f"))
    save_figure(sizes_figure(frame), out / "sizes")
    shown = frame.assign(
        parameters=frame["parameters"].map(thousands),
        depth=[f"{100 * depth:.1f} %" for depth in frame["depth"]],
        metric=frame["metric"].map(metric_label),
        cell=[points(*ends) for ends in frame[["diff", "low", "high", "df"]].to_numpy()],
    )
    down = ["regime", "parameters", "depth", "seeds"]
    wide = shown.groupby([*down, "metric"], sort=False)["cell"].first().unstack(sort=False).reset_index()
    table = make_table("sizes", wide, caption("sizes"), words=["regime"])
    write_document(out / "sizes", Document("The size of the model", (Section("", remarks(results), (table,)),)))
    return out / "sizes.md"


def size_frame(results: Sequence[Results]) -> pd.DataFrame:
    """Paired differences to GRPO of the final weights in shares, one row per study × metric, smallest model first.

    `depth` is the share of single tries that the base model solves on the hardest size.
    """
    rows = []
    for part in results:
        depth, _, _ = depth_of(part)
        shared = {"regime": regime(part.study), "study": part.study.name, "depth": depth}
        shared |= {"parameters": study_shape(part.study).parameters}
        for metric in METRICS:
            (found,) = part.differences("test", metric, [RUN])
            if found is not None:
                rows.append(shared | {"metric": metric} | found.row)
    columns = ["regime", "study", "parameters", "depth", "metric", "seeds", "diff", "low", "high", "df"]
    return pd.DataFrame(rows, columns=columns).sort_values(["regime", "parameters"], kind="stable", ignore_index=True)


def sizes_figure(frame: pd.DataFrame) -> Figure:
    """Differences in points with 95 % intervals against the number of parameters; a panel per regime."""
    use_style()
    names = list(dict.fromkeys(frame["regime"]))
    figure, axes = plt.subplots(1, max(1, len(names)), figsize=(PAGE_WIDTH, 2.8), sharey=True, squeeze=False)
    for name, axis in zip(names, axes[0], strict=False):
        axis.axhline(0, color=PALETTE["black"], lw=0.9)
        for metric, (label, color) in METRICS.items():
            line = frame[(frame["regime"] == name) & (frame["metric"] == metric)]
            ends = [100 * (line["diff"] - line["low"]), 100 * (line["high"] - line["diff"])]
            axis.errorbar(line["parameters"], 100 * line["diff"], ends, color=color, marker="o", ms=3.5, lw=1.3)
            if len(line):
                at = line["parameters"].iloc[-1], 100 * line["diff"].iloc[-1]
                axis.annotate(label, at, (0, 6), textcoords="offset points", ha="right", color=color, fontsize="small")
        axis.set_xscale("log")
        axis.set_xlabel("parameters")
        axis.set_title(sentence_case(name), fontsize="medium")
    axes[0][0].set_ylabel("points above GRPO")
    state(figure, _message(frame))
    return figure


def _message(frame: pd.DataFrame) -> str:
    """The difference in pass@8 of the smallest and of the largest model, by regime."""
    at = frame[frame["metric"] == "pass@8"].groupby("regime", sort=False)["diff"].agg(["first", "last"])
    parts = [f"{name} {signed(100 * first)} and {signed(100 * last)}" for name, first, last in at.itertuples()]
    return f"pass@8 beyond GRPO, smallest and largest model: {'; '.join(parts)}" if parts else "Sizes: not run"
