"""The figures of the documentation, drawn from published curves and verdicts."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from hdpo.claims.claims import Contrasted
from hdpo.claims.reported import reported_contrasts
from hdpo.render.labels import name_ends, state
from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style

COLOURS = (PALETTE["vermilion"], PALETTE["blue"])  # of the regimes
WINDOW = 15  # steps of the running mean


def contrast_label(weights: Mapping[str, float]) -> str:
    """`frozen, λ = 0.1 − GRPO`; several runs on a side are joined."""
    sides = ([run_label(run).removeprefix("HDPO ") for run, w in weights.items() if w * sign > 0] for sign in (1, -1))
    return " − ".join(" and ".join(side) for side in sides)


def draw_claim(claim: Contrasted, rows: Mapping[str, dict[str, Any]], reported: pd.DataFrame, path: Path) -> bool:
    """A line for the contrast and each part: the paper's two entries, and each regime. False: nothing to draw."""
    verdicts = {regime: row["verdict"] for regime, row in rows.items()}
    rows = {regime: row["data"] for regime, row in rows.items() if row["data"] and row["data"]["pooled"]}
    if not rows:
        return False
    use_style()
    labels = ["all together" if len(claim.weights) > 1 else claim.quantity, *map(contrast_label, claim.weights[1:])]
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 1.3 + 0.42 * len(labels)))
    step = 0.8 / (len(rows) + 1)
    for colour, (number, (regime, data)) in zip(COLOURS, enumerate(rows.items(), 1), strict=False):
        for place, part in enumerate((data["pooled"], *data["each"])):
            if part is None:
                continue
            value, ends = 100 * part["value"], (part["low"], part["high"])
            bar = [[value - 100 * ends[0]], [100 * ends[1] - value]] if None not in ends else None
            label = regime if place == 0 else None
            axis.errorbar(value, place - 0.4 + number * step, xerr=bar, fmt="o", ms=4, color=colour, label=label)
    for place, weights in enumerate(claim.weights):
        entries = reported_contrasts(reported, weights, claim.metric)
        label = "the paper, two tables" if place == 0 else None
        axis.plot(
            100 * entries, [place - 0.4] * len(entries), "D", ms=4, mfc="none", color=PALETTE["black"], label=label
        )
    axis.axvline(0, color=PALETTE["black"], lw=0.9)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.3, -0.7)
    axis.set_xlabel(f"points of {claim.metric}")
    axis.grid(axis="y", visible=False)
    state(figure, "; ".join(f"{regime}: {verdict}" for regime, verdict in verdicts.items()))
    figure.legend(loc="outside lower center", ncols=3, fontsize="small", handletextpad=0.2, columnspacing=1)
    save(figure, path)
    return True


def draw_metrics(curves: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Healthy and sick examples for the page on metrics; `curves` by regime.

    Raises:
        ValueError: the published curves no longer show what a figure's title says.
    """
    true, unlucky = curves["true cliffs"], curves["unlucky cliffs"]

    cliffs = {"GRPO": mean_curve(true, "grpo", "cliff_fraction")}
    cliffs["HDPO, λ = 0.1"] = mean_curve(true, "hdpo-drifting-0.1", "cliff_fraction")
    opened = [1 - line.iloc[-1] / line.iloc[0] for line in cliffs.values()]
    title = "True cliffs: GRPO waits, HDPO opens them"
    draw_lines(cliffs, title, "share of cliffs in a step", opened[0] < 0.2 < 0.4 < opened[1], folder / "cliffs.svg")

    falls = {name: mean_curve(rows, "hdpo-drifting-0.1", "distill_loss") for name, rows in curves.items()}
    fell = {name: 1 - line.iloc[-1] / line.iloc[0] for name, line in falls.items()}
    title = "The divergence falls where new cliffs resemble old ones"
    shown = fell["unlucky cliffs"] < 0.2 < 0.3 < fell["true cliffs"]
    draw_lines(falls, title, "JSD of a token, nats (λ = 0.1)", shown, folder / "divergence.svg")

    pulls = {}
    for weight in ("0.01", "0.1", "1"):
        norms = [mean_curve(unlucky, f"hdpo-drifting-{weight}", f"grad_norm_{part}") for part in ("distill", "policy")]
        pulls[f"λ = {weight}"] = norms[0] / norms[1]
    title = "Unlucky cliffs: at λ = 1 distillation pulls harder than reward"
    shown = pulls["λ = 0.01"].max() < 0.1 and pulls["λ = 1"].min() > 1
    draw_lines(pulls, title, "gradients: distillation / policy", shown, folder / "pull.svg", log=True)


def mean_curve(curves: pd.DataFrame, run: str, metric: str) -> pd.Series:
    """Mean over seeds of the last `WINDOW` steps, by step. A step without the metric does not count."""
    means = curves[curves["run"] == run].groupby("step")[metric].mean()
    return means.rolling(WINDOW, min_periods=1).mean().iloc[WINDOW - 1 :]


def draw_lines(lines: Mapping[str, pd.Series], title: str, label: str, shown: bool, path: Path, log=False) -> None:
    if not shown:
        raise ValueError(f"{path.name}: published curves no longer show its title: {title}")
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.7))
    drawn = list(zip((*COLOURS, PALETTE["black"]), lines.items(), strict=False))
    for colour, (_, line) in drawn:
        axis.plot(line.index, line, color=colour)
    axis.set(xlabel=f"step (mean of {WINDOW})", ylabel=label)
    axis.set_yscale("log") if log else axis.set_ylim(bottom=0)
    axis.margins(x=0)
    state(figure, title)
    name_ends({axis: [(name, line.iloc[-1], colour) for colour, (name, line) in drawn]})
    save(figure, path)


def curve_ends(curves: Mapping[str, pd.DataFrame], steps: int = 10) -> str:
    """What published runs show, metric by metric: the mean of the first steps, and of the last."""
    metrics = ["reward", "cliff_fraction", "privileged_pass_rate", "distill_loss", "entropy", "response_length"]
    metrics += ["grad_norm_policy", "grad_norm_distill", "logp_gap"]
    table = {"metric": [f"`{metric}`" for metric in metrics]}
    for regime, rows in curves.items():
        for run in ("grpo", "hdpo-drifting-0.1"):
            own = rows[rows["run"] == run]
            early, late = own[own["step"] < steps][metrics], own[own["step"] > own["step"].max() - steps][metrics]
            ends = zip(early.mean(), late.mean(), strict=True)
            cells = ["—" if math.isnan(first) else f"{first:.2g} → {last:.2g}" for first, last in ends]
            table[f"{regime}: {run_label(run)}"] = cells
    return pd.DataFrame(table).to_markdown(index=False, disable_numparse=True)


def pixels(path: Path) -> int:
    """Width on a screen, so that text is as large in every figure."""
    if path.suffix == ".svg":
        return round(96 * PAGE_WIDTH)
    use_style()
    with Image.open(path) as image:
        return round(96 * image.width / plt.rcParams["savefig.dpi"])


def save(figure: plt.Figure, path: Path) -> None:
    """As SVG without a date, so that equal data give equal bytes."""
    plt.rcParams["svg.hashsalt"] = "hdpo"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
