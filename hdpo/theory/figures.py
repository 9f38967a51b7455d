"""The theory figures: one function each, the data frame of its `…_curve` in, a figure out."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hdpo.render.formats import thousands
from hdpo.render.labels import darker, name_ends, state
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.theory.cliff import cliff_probability

METHOD_COLOURS = {"GRPO": PALETTE["vermilion"], "HDPO": PALETTE["blue"]}
KIND_COLOURS = {"same": PALETTE["blue"], "cross": PALETTE["orange"]}
SUCCESS_LABEL = "success probability $p$"
SIMULATED = "lines: formula, points: simulated"
DASHED = {"color": PALETTE["black"], "ls": "--"}


def _page(columns: int = 2, height: float = 2.7) -> tuple[plt.Figure, Any]:
    """A figure with its axis or array of axes; `height` in inches."""
    use_style()
    return plt.subplots(1, columns, figsize=(PAGE_WIDTH, height))


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
        probability = np.array([cliff_probability(p, group_size) for p in success])
        left.semilogx(success, probability, style, color=PALETTE["black"])
        at = success[np.abs(probability - 0.8).argmin()]
        left.annotate(f"{group_size}", (at, 0.8), (2, 1), textcoords="offset points", fontsize="small")
    left.set(xlabel=SUCCESS_LABEL, ylabel="P(all $G$ rollouts fail)")
    left.set_title("at each line its $G$", fontsize="medium")
    _by_method(right, waits)
    right.set(xlabel=SUCCESS_LABEL, ylabel="steps to first update")
    right.set_title(SIMULATED, fontsize="medium")
    right.legend()
    state(figure, f"The first update at p = {_slowest(waits)}")
    return figure


def climb_figure(climb: pd.DataFrame) -> plt.Figure:
    """Steps from p to 1/2, one panel per trajectory length T: lines by formula, points simulated."""
    panels = climb.groupby("tokens")
    figure, axes = _page(len(panels), height=2.6)
    for axis, (tokens, part) in zip(axes, panels, strict=True):
        _by_method(axis, part)
        axis.set(xlabel="initial $p$", title=f"$T = {tokens}$ token{'s' if tokens > 1 else ''}")
        axis.set_ylim(climb["formula"].min() / 2, climb["formula"].max() * 2)
    axes[0].set_ylabel("steps until $p = 1/2$")
    axes[-1].legend(fontsize="small", loc="upper right", borderpad=0)
    longest = climb[climb["tokens"] == climb["tokens"].max()]
    state(figure, f"The climb to 1/2 over {longest['tokens'].iloc[0]} tokens from p = {_slowest(longest)}")
    return figure


def _slowest(part: pd.DataFrame) -> str:
    """The smallest success probability, and by formula the steps that each method takes from there."""
    least = part["success"].min()
    first = part[part["success"] == least].set_index("method")["formula"]
    steps = [f"{thousands(x) if x > 10 else f'{x:.1f}'} steps under {method}" for method, x in first.items()]
    return f"{least:g} takes {', '.join(steps)}"


def limit_figure(limit: pd.DataFrame) -> plt.Figure:
    """TV(π*_β, π_ref(·|R=1)) against 1/β: closed form as lines, gradient ascent as points."""
    figure, axis = _page(1, height=2.8)
    colours = (PALETTE["blue"], PALETTE["green"], PALETTE["vermilion"])
    names = []
    for (success, part), colour in zip(limit.groupby("success", sort=False), colours, strict=False):
        _line_and_points(axis.semilogy, part, "inverse_beta measured", colour, f"$p = {success:g}$", ms=3.5)
        names.append((f"$p = {success:g}$", part["formula"].iloc[-1], colour))
    axis.set(xlabel=r"$1/\beta$", ylabel=r"TV to $\pi_{\mathrm{ref}}(\cdot\,|\,R=1)$")
    axis.set_title("lines: closed form, points: gradient ascent", fontsize="small")
    state(figure, r"The optimum approaches the filtered policy as $e^{-1/\beta}$")
    name_ends({axis: names})
    return figure


def rejection_figure(tv: pd.DataFrame, p_values: np.ndarray) -> plt.Figure:
    """Left: TV of n accepted draws to the target. Right: p-values of the goodness-of-fit test."""
    figure, (left, right) = _page()
    n, (low, middle, high) = tv.columns.to_numpy(), tv.quantile([0.05, 0.5, 0.95]).to_numpy()
    left.fill_between(n, low, high, color=PALETTE["sky"], alpha=0.35, lw=0, label="90 % of repetitions")
    left.loglog(n, middle, "o-", color=PALETTE["blue"], ms=4, label="median")
    left.loglog(n, middle[0] * np.sqrt(n[0] / n), **DASHED, label="slope $-1/2$")
    left.set(xlabel="accepted draws $n$", ylabel="TV to the target")
    left.legend(fontsize="small")
    right.hist(p_values, bins=20, range=(0, 1), color=PALETTE["sky"], edgecolor="white", lw=0.5)
    right.axhline(len(p_values) / 20, **DASHED)
    right.annotate("uniform", (0.98, len(p_values) / 20 * 1.35), ha="right")
    right.set(xlabel=r"p-value of the $\chi^2$ test of fit", ylabel="repetitions")
    right.set_ylim(0, len(p_values) / 20 * 2)
    slope = np.polyfit(np.log(n), np.log(middle), 1)[0]
    rejected = 100 * (p_values < 0.05).mean()
    power = f"$n^{{{slope:.2f}}}$"
    state(figure, f"Rejection sampling nears the target as {power}; {rejected:.0f} % of fit tests reject at 5 %")
    return figure


def students_figure(students: pd.DataFrame) -> plt.Figure:
    """What bell-shaped students of a two-mode teacher become under each divergence."""
    figure, axes = _page(3, height=2.5)
    by_name = dict(list(students.groupby("who")))
    teacher, names = by_name["filtered teacher"], ("forward KL", "JSD", "reverse KL")
    for axis, name in zip(axes, names, strict=True):
        student = by_name[name]
        axis.bar(teacher["arm"], teacher["probability"], color=PALETTE["grey"], alpha=0.5)
        axis.plot(student["arm"], student["probability"], "o-", color=PALETTE["blue"], ms=3)
        axis.set(xlabel="arm", title=rf"{name} (to $\pi^*_\beta$)" if name == "reverse KL" else name, ylim=(0, 0.6))
    axes[0].set_ylabel("probability")
    axes[0].annotate("filtered teacher", (0.03, 0.9), xycoords="axes fraction", color=PALETTE["grey"])
    axes[0].annotate("student", (0.03, 0.78), xycoords="axes fraction", color=PALETTE["blue"])
    found = ", ".join(f"{by_name[name]['success'].iloc[0]:.2f} by {name}" for name in names)
    state(figure, f"A bell-shaped student's success: {found}")
    return figure


def proxy_figure(proxy: pd.DataFrame) -> plt.Figure:
    """Left: the proxy's distance to the target against the leak. Right: how much of the leak helps p_T."""
    figure, (left, right) = _page()
    looks = [("the answer only", "green"), ("half and half", "orange"), ("a worked solution", "purple")]
    gaps = []
    for (_, part), (name, colour) in zip(proxy.groupby("share"), looks, strict=True):
        left.semilogx(part["bits"], part["gap_tv"].clip(lower=0), color=PALETTE[colour])
        right.semilogx(part["bits"], part["teacher_success"], color=PALETTE[colour], label=name)
        gaps.append(f"{max(0, part['gap_tv'].iloc[-1]):.2f} for {name}")
    left.set(ylabel="TV(proxy, target)", ylim=(-0.03, 1))
    right.set(ylabel="teacher's success $p_T$", ylim=(0, 1.03))
    for axis in (left, right):
        axis.set_xlabel("bits the hint leaks")
    right.legend(title="the hint names", loc="upper left", fontsize="small")
    state(figure, f"The largest leak's gap to the target: {', '.join(gaps)}")
    return figure


def tightness_figure(tightness: pd.DataFrame) -> plt.Figure:
    """KL over the sharper bound of Lemma 1 against the range of the logit difference."""
    figure, axis = _page(1, height=2.8)
    kinds = {kind: (part["range"], part["ratio"]) for kind, part in tightness.groupby("kind")}
    _cloud(axis.semilogx, *kinds["random"], PALETTE["grey"], ms=2, alpha=0.5)
    axis.semilogx(*kinds["supremum"], color=PALETTE["blue"])
    axis.semilogx(*kinds["adversarial"], "o", color=PALETTE["vermilion"], ms=4)
    axis.axhline(1, **DASHED, lw=1)
    axis.set(xlabel=r"range of the logit difference, $\max\delta-\min\delta$", ylim=(-0.02, 1.12))
    axis.set_ylabel(r"KL over $(\max\delta-\min\delta)^2/8$")
    blank = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    words = (("supremum", "blue", 0.88), ("adversarial, by ascent", "vermilion", 0.8), ("random logits", "grey", 0.62))
    for name, hue, height in words:
        axis.annotate(
            name, (0.03, height - 0.04), xycoords="axes fraction", color=darker(PALETTE[hue]), va="top", bbox=blank
        )
    ranges, ratios = (values.to_numpy() for values in kinds["supremum"])
    ends = [f"{100 * ratios[end]:.0f} % at a range of {ranges[end]:.2g}" for end in (0, -1)]
    state(figure, f"Lemma 1's bound can be filled to {' and '.join(ends)}")
    return figure


def bound_figure(pairs: pd.DataFrame) -> plt.Figure:
    """Left: gap under bound for both teachers. Right: the two gaps of each pair; below the line, cross wins."""
    figure, (left, right) = _page(height=2.9)
    for kind, colour in KIND_COLOURS.items():
        _cloud(left.loglog, pairs[f"{kind}_bound"], pairs[f"{kind}_kl"], colour, label=f"{kind} model")
    _diagonal(left, pairs["same_bound"].min(), pairs["cross_bound"].max(), "gap = bound")
    left.set(xlabel="bound of Proposition 1 (nats)", ylabel="gap, KL (nats)")
    left.legend(loc="lower left", markerscale=3, fontsize="small")
    gaps = pairs[["same_kl", "cross_kl"]]
    _cloud(right.loglog, pairs["same_kl"], pairs["cross_kl"], PALETTE["purple"])
    _diagonal(right, gaps.min().min(), gaps.max().max(), "equal gaps")
    right.set(xlabel="same-model gap (nats)", ylabel="cross-model gap (nats)")
    right.legend(loc="upper left", fontsize="small")
    nearer = 100 * (pairs["cross_kl"] < pairs["same_kl"]).mean()
    state(figure, f"{_under(pairs)}; a cross-model teacher is nearer in {nearer:.0f} % of pairs")
    return figure


def model_gap_figure(gaps: pd.DataFrame) -> plt.Figure:
    """Gap at each token against its bound, on the base model; each kind in `gaps` is drawn."""
    figure, axis = _page(1, height=3.0)
    for kind in ("cross", "same"):
        if f"{kind}_kl" in gaps:
            divergence = gaps[f"{kind}_kl"].clip(lower=1e-9)  # nats; smaller ones are drawn here
            colour, label = KIND_COLOURS[kind], f"{kind} model"
            _cloud(axis.loglog, gaps[f"{kind}_bound"], divergence, colour, alpha=0.4, label=label)
    _diagonal(axis, gaps["same_bound"].min(), gaps.filter(like="_bound").max().max(), "gap = bound")
    axis.set(xlabel="bound of Proposition 1 (nats)", ylabel="gap at one token, KL (nats)")
    axis.legend(loc="best", markerscale=3, fontsize="small")
    state(figure, f"Base model: {_under(gaps)}")
    return figure


def _under(gaps: pd.DataFrame) -> str:
    """How many gaps are at most their bound."""
    kinds = [kind for kind in KIND_COLOURS if f"{kind}_kl" in gaps]
    under = sum((gaps[f"{kind}_kl"] <= gaps[f"{kind}_bound"]).sum() for kind in kinds)
    return f"{thousands(under)} of {thousands(len(kinds) * len(gaps))} gaps are under their bound"
