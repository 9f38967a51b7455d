"""The theory figures: one function each, the data frame of its `…_curve` in, a figure out."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.theory.cliff import cliff_probability

METHOD_COLOURS = {"GRPO": PALETTE["vermilion"], "HDPO": PALETTE["blue"]}
KIND_COLOURS = {"same": PALETTE["blue"], "cross": PALETTE["orange"]}
SUCCESS_LABEL = "success probability $p$"
SIMULATED = "lines: formula\npoints: simulated"
DASHED = {"color": PALETTE["black"], "ls": "--"}


def _page(columns: int = 2, height: float = 2.7, width: float = 1.0) -> tuple[plt.Figure, Any]:
    """A figure with its axis or array of axes; `height` in inches, `width` as a share of the page."""
    use_style()
    return plt.subplots(1, columns, figsize=(PAGE_WIDTH * width, height))


def _line_and_points(draw: Callable, part: pd.DataFrame, columns: str, colour: str, label: str, ms: float = 4) -> None:
    x, points = columns.split()
    draw(part[x], part["formula"], color=colour, label=label)
    draw(part[x], part[points], "o", color=colour, ms=ms)


def _by_method(axis: plt.Axes, frame: pd.DataFrame) -> None:
    for method, part in frame.groupby("method"):
        _line_and_points(axis.loglog, part, "success simulated", METHOD_COLOURS[method], method)


def _cloud(draw: Callable, x: pd.Series, y: pd.Series, colour: str, ms: float = 3, alpha: float = 0.6, **label) -> None:
    draw(x, y, ".", color=colour, ms=ms, alpha=alpha, rasterized=True, **label)


def _diagonal(axis: plt.Axes, low: float, high: float, label: str) -> None:
    axis.loglog([low, high], [low, high], **DASHED, lw=1, label=label)


def cliff_figure(waits: pd.DataFrame) -> plt.Figure:
    """Left: how likely a cliff is. Right: steps to the first non-zero update, formula and simulation."""
    figure, (left, right) = _page()
    success = np.logspace(-4, -0.05, 80)
    for group_size, style in ((4, "-"), (16, "--"), (64, ":")):
        probability = [cliff_probability(p, group_size) for p in success]
        left.semilogx(success, probability, style, color=PALETTE["black"], label=f"$G = {group_size}$")
    left.set(xlabel=SUCCESS_LABEL, ylabel="P(all $G$ rollouts fail)", title="A cliff is likely where $p < 1/G$")
    left.legend()
    _by_method(right, waits)
    right.set(xlabel=SUCCESS_LABEL, ylabel="steps to first non-zero update", title="Waiting for a first signal")
    right.legend(title=SIMULATED)
    return figure


def climb_figure(climb: pd.DataFrame) -> plt.Figure:
    """Steps from p to 1/2, one panel per trajectory length T: lines by formula, points simulated."""
    panels = climb.groupby("tokens")
    figure, axes = _page(len(panels), height=2.6)
    for axis, (tokens, part) in zip(axes, panels, strict=True):
        _by_method(axis, part)
        axis.set(xlabel=f"initial {SUCCESS_LABEL}", title=f"$T = {tokens}$ token{'s' if tokens > 1 else ''}")
        axis.set_ylim(climb["formula"].min() / 2, climb["formula"].max() * 2)
    axes[0].set_ylabel("steps until $p = 1/2$")
    axes[-1].legend(title=SIMULATED)
    return figure


def limit_figure(limit: pd.DataFrame) -> plt.Figure:
    """TV(π*_β, π_ref(·|R=1)) against 1/β: closed form as lines, gradient ascent as points."""
    figure, axis = _page(1, height=2.8, width=0.6)
    colours = (PALETTE["blue"], PALETTE["green"], PALETTE["vermilion"])
    for (success, part), colour in zip(limit.groupby("success", sort=False), colours, strict=False):
        _line_and_points(axis.semilogy, part, "inverse_beta measured", colour, f"$p = {success:g}$", ms=3.5)
    axis.set(xlabel=r"$1/\beta$", ylabel=r"TV to $\pi_{\mathrm{ref}}(\cdot\,|\,R=1)$")
    axis.set_title(r"The optimum approaches the filtered policy as $e^{-1/\beta}$")
    axis.legend(title="lines: closed form\npoints: gradient ascent")
    return figure


def rejection_figure(tv: pd.DataFrame, p_values: np.ndarray) -> plt.Figure:
    """Left: TV of n accepted draws to the target. Right: p-values of the goodness-of-fit test."""
    figure, (left, right) = _page()
    n, (low, middle, high) = tv.columns.to_numpy(), tv.quantile([0.05, 0.5, 0.95]).to_numpy()
    left.fill_between(n, low, high, color=PALETTE["sky"], alpha=0.35, lw=0, label="90 % of repetitions")
    left.loglog(n, middle, "o-", color=PALETTE["blue"], ms=4, label="median")
    left.loglog(n, middle[0] * np.sqrt(n[0] / n), **DASHED, label="slope $-1/2$")
    left.set(xlabel="accepted draws $n$", ylabel="TV to the target", title="Rejection sampling converges")
    left.legend()
    right.hist(p_values, bins=20, range=(0, 1), color=PALETTE["sky"], edgecolor="white", lw=0.5)
    right.axhline(len(p_values) / 20, **DASHED, label="uniform")
    right.set(xlabel=r"$\chi^2$ p-value", ylabel="repetitions", title="Its fit test sees nothing")
    right.set_ylim(0, len(p_values) / 20 * 2)
    right.legend()
    return figure


def students_figure(students: pd.DataFrame) -> plt.Figure:
    """What bell-shaped students of a two-mode teacher become under each divergence."""
    figure, axes = _page(3, height=2.5)
    by_name = dict(list(students.groupby("who")))
    teacher = by_name["filtered teacher"]
    for axis, name in zip(axes, ("forward KL", "JSD", "reverse KL"), strict=True):
        title = rf"{name} (to $\pi^*_\beta$)" if name == "reverse KL" else name
        student = by_name[name]
        axis.bar(teacher["arm"], teacher["probability"], color=PALETTE["grey"], alpha=0.5, label="filtered teacher")
        axis.plot(student["arm"], student["probability"], "o-", color=PALETTE["blue"], ms=3, label="student")
        axis.set(xlabel="arm", title=f"{title}\nstudent's success {student['success'].iloc[0]:.2f}", ylim=(0, 0.6))
    axes[0].set_ylabel("probability")
    axes[0].legend()
    return figure


def proxy_figure(proxy: pd.DataFrame) -> plt.Figure:
    """Left: the proxy's distance to the target against the leak. Right: how much of the leak helps p_T."""
    figure, (left, right) = _page()
    looks = [("the answer only", "green"), ("half and half", "orange"), ("a worked solution", "purple")]
    for (_, part), (name, colour) in zip(proxy.groupby("share"), looks, strict=True):
        left.semilogx(part["bits"], part["gap_tv"].clip(lower=0), color=PALETTE[colour], label=name)
        right.semilogx(part["bits"], part["teacher_success"], color=PALETTE[colour], label=name)
    left.set(ylabel="TV(proxy, target)", title="Which hint, not how much, sets the gap", ylim=(-0.03, 1))
    right.set(ylabel="teacher's success $p_T$", title="The answer buys most success per bit", ylim=(0, 1.03))
    for axis in (left, right):
        axis.set_xlabel("bits the hint leaks")
    right.legend(title="the hint names", loc="upper left")
    return figure


def tightness_figure(tightness: pd.DataFrame) -> plt.Figure:
    """KL over the sharper bound of Lemma 1 against the range of the logit difference."""
    figure, axis = _page(1, height=2.8, width=0.85)
    kinds = {kind: (part["range"], part["ratio"]) for kind, part in tightness.groupby("kind")}
    _cloud(axis.semilogx, *kinds["random"], PALETTE["grey"], ms=2, alpha=0.5, label="random logits")
    axis.semilogx(*kinds["supremum"], color=PALETTE["blue"], label="supremum")
    found = "adversarial, found by ascent"
    axis.semilogx(*kinds["adversarial"], "o", color=PALETTE["vermilion"], ms=4, label=found)
    axis.axhline(1, **DASHED, lw=1)
    axis.set(xlabel=r"$\max\delta-\min\delta$", ylabel=r"KL over $(\max\delta-\min\delta)^2/8$", ylim=(-0.02, 1.08))
    axis.set_title("Lemma 1 is tight for small differences only")
    figure.legend(loc="outside right center")
    return figure


def bound_figure(pairs: pd.DataFrame) -> plt.Figure:
    """Left: gap under bound for both teachers. Right: the two gaps of each pair; below the line, cross wins."""
    figure, (left, right) = _page(height=2.9)
    for kind, colour in KIND_COLOURS.items():
        _cloud(left.loglog, pairs[f"{kind}_bound"], pairs[f"{kind}_kl"], colour, label=f"{kind} model")
    _diagonal(left, pairs["same_bound"].min(), pairs["cross_bound"].max(), "gap = bound")
    left.set(xlabel="bound of Proposition 1", ylabel="gap, KL (nats)", title="Every gap is under its bound")
    left.legend(loc="upper left", markerscale=3)
    gaps = pairs[["same_kl", "cross_kl"]]
    _cloud(right.loglog, pairs["same_kl"], pairs["cross_kl"], PALETTE["purple"])
    _diagonal(right, gaps.min().min(), gaps.max().max(), "equal gaps")
    right.set(xlabel="same-model gap (nats)", ylabel="cross-model gap (nats)")
    right.set_title("Gaps are not ordered as the bounds are")
    right.legend(loc="upper left")
    return figure


def model_gap_figure(gaps: pd.DataFrame) -> plt.Figure:
    """A language model's KL at each token against the bound from the same forward passes (`model_gap.token_gaps`)."""
    figure, axis = _page(1, height=3.0, width=0.6)
    for kind in ("cross", "same"):
        if f"{kind}_kl" in gaps:
            divergence = gaps[f"{kind}_kl"].clip(lower=1e-9)  # nats; smaller ones are drawn here
            colour, label = KIND_COLOURS[kind], f"{kind} model"
            _cloud(axis.loglog, gaps[f"{kind}_bound"], divergence, colour, alpha=0.4, label=label)
    _diagonal(axis, gaps["same_bound"].min(), gaps.filter(like="_bound").max().max(), "gap = bound")
    axis.set(xlabel="bound of Proposition 1 (nats)", ylabel="gap at one token, KL (nats)")
    axis.legend(loc="best", markerscale=3)
    return figure
