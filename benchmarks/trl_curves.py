"""What `benchmarks.trl_cliffs` trained, beside the kit's own runs of the same names and seeds.

    python -m benchmarks.trl_curves STUDY OUT [PAGE]

It reads OUT/RUN-SEED.csv and .json, and the kit's runs from the study's folder or, if none is there, from the published
results. It writes OUT/curves.png and .pdf, OUT/curves.csv and .md, and that table into PAGE where PAGE has room for it.
So with OUT/cost.json of `benchmarks.trl_overhead`, if it is there.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from benchmarks.trl_overhead import cost_table
from hdpo.claims.reader import Reader
from hdpo.claims.sources import Folder
from hdpo.render.formats import percent
from hdpo.render.labels import key, state
from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, save_figure, use_style
from hdpo.render.table import make_table, to_markdown, write_text
from hdpo.report.publish import fill_blocks
from hdpo.report.run_style import color
from hdpo.study.study import Study, load_study
from hdpo.system.files import read_json

METRICS = ("pass@1", "pass@8")
TITLES = {
    "cliff_fraction": "cliffs among a\nstep's prompts",
    "reward": "mean reward\nof a step",
    "pass@8": "pass@8,\nvalidation",
}
LINES = {"TRL": "-", "kit": (0, (3, 1.5))}
WINDOW = 20  # steps of a mean


def trained_by_trl(out: Path) -> pd.DataFrame:
    """Every value by run, source (`TRL`), seed, metric and step."""
    parts = []
    for path in sorted(out.glob("*-*.json")):
        record = read_json(path)
        steps = pd.read_csv(path.with_suffix(".csv")).rename(columns={"hdpo/cliff_share": "cliff_fraction"})
        for frame in (steps, pd.DataFrame(record["validation"])):
            parts.append(_long(frame, record["run"], record["seed"], "TRL"))
    return pd.concat(parts, ignore_index=True)


def trained_by_kit(study: Study, values: pd.DataFrame) -> pd.DataFrame:
    """The same of the kit's runs (`kit`), of those names and seeds in `values` that are there."""
    reader = Reader(study if Folder(study).trained() else study.model_copy(update={"published": True}))
    start, parts = reader.start(), [values[:0]]
    for run, seed in values[["run", "seed"]].drop_duplicates().itertuples(index=False):
        metrics, evaluated = reader.metrics(run, seed), reader.training(run, seed)
        if metrics is None or evaluated is None or start is None:
            continue
        curve, before = evaluated["validation"], start["validation"]
        scores = {metric: [before.score(metric).mean(), *curve.means(metric)] for metric in METRICS}
        parts.append(_long(metrics.assign(step=metrics["step"] + 1), run, seed, "kit"))
        parts.append(_long(pd.DataFrame({"step": [0, *curve.steps]} | scores), run, seed, "kit"))
    return pd.concat(parts, ignore_index=True)


def _long(frame: pd.DataFrame, run: str, seed: int, source: str) -> pd.DataFrame:
    shown = [name for name in ("cliff_fraction", "reward", *METRICS) if name in frame]
    rows = frame.melt("step", shown, "metric", "value")
    return rows.assign(run=run, seed=seed, source=source)


def summarise(values: pd.DataFrame) -> pd.DataFrame:
    """Of each run, source and seed: share of cliffs and reward over the first and last steps, pass@k at both ends."""
    rows = []
    for (run, source, seed), part in values.groupby(["run", "source", "seed"]):
        row = {"run": run, "source": source, "seed": seed}
        for metric, found in part.groupby("metric"):
            ordered, wide = found.sort_values("step")["value"], 1 if metric in METRICS else WINDOW
            row |= {f"{metric} first": ordered[:wide].mean(), f"{metric} last": ordered[-wide:].mean()}
        rows.append(row)
    return pd.DataFrame(rows)


def table(summary: pd.DataFrame) -> str:
    """The summary's means over seeds in percent, with lowest and highest seed, as Markdown."""
    rows = []
    for (run, source), part in summary.groupby(["run", "source"], sort=False):
        row = {"run": run_label(run), "by": source, "seeds": ", ".join(map(str, part["seed"]))}
        for metric, title in (("cliff_fraction", "cliffs"), ("reward", "reward"), ("pass@1", ""), ("pass@8", "")):
            first, last = (part[f"{metric} {end}"] * 100 for end in ("first", "last"))
            row[f"{title or metric}, %"] = f"{first.mean():.1f} → {last.mean():.1f} ({last.min():.1f}–{last.max():.1f})"
        rows.append(row)
    return to_markdown(make_table("trl-cliffs", pd.DataFrame(rows), words=("run", "by", "seeds")))


def draw(values: pd.DataFrame) -> Figure:
    """Means over seeds, per-step values also over ten steps; the band spans the seeds of TRL's runs."""
    use_style()
    runs = list(dict.fromkeys(values["run"]))
    figure, axes = plt.subplots(1, len(TITLES), figsize=(PAGE_WIDTH, 3.0))
    for axis, (metric, title) in zip(axes, TITLES.items(), strict=True):
        for (run, source), part in values[values["metric"] == metric].groupby(["run", "source"]):
            seeds = part.pivot(index="step", columns="seed", values="value")
            if metric not in METRICS:
                seeds = seeds.rolling(10, min_periods=1).mean()
            axis.plot(seeds.mean(axis=1), color=color(run, runs), ls=LINES[source])
            if source == "TRL":
                low, high = seeds.min(axis=1), seeds.max(axis=1)
                axis.fill_between(seeds.index, low, high, color=color(run, runs), alpha=0.13, lw=0)
        axis.set_title(title)
        axis.set_xlabel("training step")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    entries = {
        f"{run_label(run)}, {source}": {"color": color(run, runs), "ls": line}
        for run in runs
        for source, line in LINES.items()
    }
    handles = [Line2D([], [], label=label, **style) for label, style in entries.items()]
    key(figure, handles, ncols=2)
    ends = values[(values["metric"] == "cliff_fraction") & (values["source"] == "TRL")].sort_values("step")
    ends = ends.groupby(["run", "seed"]).tail(WINDOW).groupby("run")["value"].mean()
    words = "; ".join(f"{percent(share)} % under {run_label(str(run))}" for run, share in ends.items())
    state(figure, f"Prompts on a cliff at the end in TRL: {words}")
    return figure


def main(study_file: str, out: str, page: str | None = None) -> None:
    folder = Path(out)
    values = trained_by_trl(folder)
    values = pd.concat([values, trained_by_kit(load_study(study_file), values)], ignore_index=True)
    summary = summarise(values)
    save_figure(draw(values), folder / "curves")
    write_text(folder / "curves.csv", summary.to_csv(index=False))
    write_text(folder / "curves.md", table(summary) + "\n")
    if (cost := folder / "cost.json").exists():
        write_text(cost.with_suffix(".md"), cost_table(read_json(cost)) + "\n")
    if page is not None:
        write_text(Path(page), fill_blocks(Path(page).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(*sys.argv[1:])
