"""The theory figures: one function each, a data frame of `curves.py` in, a figure out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style

METHOD_COLOURS = {"GRPO": PALETTE["vermilion"], "HDPO": PALETTE["blue"]}
SUCCESS_LABEL = "success probability $p$"


def _page(columns: int = 2, height: float = 2.7) -> tuple[plt.Figure, np.ndarray]:
    use_style()
    return plt.subplots(1, columns, figsize=(PAGE_WIDTH, height))


def cliff_figure(probability: pd.DataFrame, waits: pd.DataFrame) -> plt.Figure:
    """Left: how likely a cliff is. Right: steps to the first non-zero update, formula and simulation."""
    figure, (left, right) = _page()
    for (group_size, part), style in zip(probability.groupby("group_size"), ("-", "--", ":"), strict=False):
        left.semilogx(part["success"], part["probability"], style, color=PALETTE["black"], label=f"$G = {group_size}$")
    left.set(xlabel=SUCCESS_LABEL, ylabel="P(all $G$ rollouts fail)", title="A cliff is likely where $p < 1/G$")
    left.legend()
    for method, part in waits.groupby("method"):
        right.loglog(part["success"], part["formula"], color=METHOD_COLOURS[method], label=method)
        right.loglog(part["success"], part["simulated"], "o", color=METHOD_COLOURS[method], ms=4)
    right.set(xlabel=SUCCESS_LABEL, ylabel="steps to first non-zero update", title="Waiting for a first signal")
    right.legend(title="lines: formula\npoints: simulated")
    return figure


def climb_figure(climb: pd.DataFrame) -> plt.Figure:
    """Steps from p to 1/2, one panel per trajectory length T: lines by formula, points simulated."""
    lengths = sorted(climb["tokens"].unique())
    figure, axes = _page(len(lengths), height=2.6)
    for axis, tokens in zip(axes, lengths, strict=True):
        for method, part in climb[climb["tokens"] == tokens].groupby("method"):
            axis.loglog(part["success"], part["formula"], color=METHOD_COLOURS[method], label=method)
            axis.loglog(part["success"], part["simulated"], "o", color=METHOD_COLOURS[method], ms=4)
        axis.set(xlabel=f"initial {SUCCESS_LABEL}", title=f"$T = {tokens}$ token{'s' if tokens > 1 else ''}")
        axis.set_ylim(climb["formula"].min() / 2, climb["formula"].max() * 2)
    axes[0].set_ylabel("steps until $p = 1/2$")
    axes[-1].legend(title="lines: formula\npoints: simulated")
    return figure


def limit_figure(limit: pd.DataFrame) -> plt.Figure:
    """TV(π*_β, π_ref(·|R=1)) against 1/β: closed form as lines, gradient ascent as points."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH * 0.6, 2.8))
    colours = (PALETTE["blue"], PALETTE["green"], PALETTE["vermilion"])
    for (success, part), colour in zip(limit.groupby("success", sort=False), colours, strict=False):
        axis.semilogy(part["inverse_beta"], part["formula"], color=colour, label=f"$p = {success:g}$")
        axis.semilogy(part["inverse_beta"], part["measured"], "o", color=colour, ms=3.5)
    axis.set(xlabel=r"$1/\beta$", ylabel=r"TV to $\pi_{\mathrm{ref}}(\cdot\,|\,R=1)$")
    axis.set_title(r"The optimum approaches the filtered policy as $e^{-1/\beta}$")
    axis.legend(title="lines: closed form\npoints: gradient ascent")
    return figure


def rejection_figure(convergence: pd.DataFrame, fit: pd.DataFrame) -> plt.Figure:
    """Left: TV of n accepted draws to the target. Right: p-values of the goodness-of-fit test."""
    figure, (left, right) = _page()
    tv = convergence.groupby("n")["tv"]
    low, middle, high = tv.quantile(0.05), tv.median(), tv.quantile(0.95)
    left.fill_between(middle.index, low, high, color=PALETTE["sky"], alpha=0.35, lw=0, label="90 % of repetitions")
    left.loglog(middle.index, middle, "o-", color=PALETTE["blue"], ms=4, label="median")
    left.loglog(
        middle.index,
        middle.iloc[0] * np.sqrt(middle.index[0] / middle.index.to_numpy()),
        "--",
        color=PALETTE["black"],
        label="slope $-1/2$",
    )
    left.set(xlabel="accepted draws $n$", ylabel="TV to the target", title="Rejection sampling converges")
    left.legend()
    right.hist(fit["p_value"], bins=20, range=(0, 1), color=PALETTE["sky"], edgecolor="white", lw=0.5)
    right.axhline(len(fit) / 20, color=PALETTE["black"], ls="--", label="uniform")
    right.set(xlabel=r"$\chi^2$ p-value", ylabel="repetitions", title="Its fit test sees nothing")
    right.set_ylim(0, len(fit) / 20 * 2)
    right.legend()
    return figure


def students_figure(students: pd.DataFrame) -> plt.Figure:
    """What bell-shaped students of a two-mode teacher become under each divergence."""
    names = ["forward KL", "JSD", "reverse KL"]
    figure, axes = _page(3, height=2.5)
    teacher = students[students["who"] == "filtered teacher"]
    for axis, name in zip(axes, names, strict=True):
        title = rf"{name} (to $\pi^*_\beta$)" if name == "reverse KL" else name
        student = students[students["who"] == name]
        axis.bar(teacher["arm"], teacher["probability"], color=PALETTE["grey"], alpha=0.5, label="filtered teacher")
        axis.plot(student["arm"], student["probability"], "o-", color=PALETTE["blue"], ms=3, label="student")
        axis.set(xlabel="arm", title=f"{title}\nstudent's success {student['success'].iloc[0]:.2f}", ylim=(0, 0.6))
    axes[0].set_ylabel("probability")
    axes[0].legend()
    return figure


def proxy_figure(proxy: pd.DataFrame) -> plt.Figure:
    """Left: the proxy's distance to the target against the leak. Right: how much of the leak helps p_T."""
    figure, (left, right) = _page()
    names = {0.0: "the answer only", 0.5: "half and half", 1.0: "a worked solution"}
    colours = {0.0: PALETTE["green"], 0.5: PALETTE["orange"], 1.0: PALETTE["purple"]}
    for share, part in proxy.groupby("share"):
        left.semilogx(part["bits"], part["gap_tv"].clip(lower=0), color=colours[share], label=names[share])
        right.semilogx(part["bits"], part["teacher_success"], color=colours[share], label=names[share])
    left.set(xlabel="bits the hint leaks", ylabel="TV(proxy, target)", title="Which hint, not how much, sets the gap")
    left.set_ylim(-0.03, 1)
    right.set(
        xlabel="bits the hint leaks", ylabel="teacher's success $p_T$", title="The answer buys most success per bit"
    )
    right.set_ylim(0, 1.03)
    right.legend(title="the hint names", loc="upper left")
    return figure


def tightness_figure(tightness: pd.DataFrame) -> plt.Figure:
    """KL over the sharper bound of Lemma 1 against the range of the logit difference."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH * 0.85, 2.8))
    kinds = dict(list(tightness.groupby("kind")))
    axis.semilogx(
        kinds["random"]["range"],
        kinds["random"]["ratio"],
        ".",
        color=PALETTE["grey"],
        ms=2,
        alpha=0.5,
        rasterized=True,
        label="random logits",
    )
    axis.semilogx(kinds["supremum"]["range"], kinds["supremum"]["ratio"], color=PALETTE["blue"], label="supremum")
    axis.semilogx(
        kinds["adversarial"]["range"],
        kinds["adversarial"]["ratio"],
        "o",
        color=PALETTE["vermilion"],
        ms=4,
        label="adversarial, found by ascent",
    )
    axis.axhline(1, color=PALETTE["black"], ls="--", lw=1)
    axis.set(xlabel=r"$\max\delta-\min\delta$", ylabel=r"KL over $(\max\delta-\min\delta)^2/8$", ylim=(-0.02, 1.08))
    axis.set_title("Lemma 1 is tight for small differences only")
    figure.legend(loc="outside right center")
    return figure


def bound_figure(pairs: pd.DataFrame) -> plt.Figure:
    """Left: gap under bound for both teachers. Right: the two gaps of each pair; below the line, cross wins."""
    figure, (left, right) = _page(height=2.9)
    for kind, colour in (("same", PALETTE["blue"]), ("cross", PALETTE["orange"])):
        left.loglog(
            pairs[f"{kind}_bound"],
            pairs[f"{kind}_kl"],
            ".",
            color=colour,
            ms=3,
            alpha=0.6,
            label=f"{kind} model",
            rasterized=True,
        )
    both = np.array([pairs["same_bound"].min(), pairs["cross_bound"].max()])
    left.loglog(both, both, "--", color=PALETTE["black"], lw=1, label="gap = bound")
    left.set(xlabel="bound of Proposition 1", ylabel="gap, KL (nats)", title="Every gap is under its bound")
    left.legend(loc="upper left", markerscale=3)
    right.loglog(pairs["same_kl"], pairs["cross_kl"], ".", color=PALETTE["purple"], ms=3, alpha=0.6, rasterized=True)
    gaps = np.array([pairs[["same_kl", "cross_kl"]].min().min(), pairs[["same_kl", "cross_kl"]].max().max()])
    right.loglog(gaps, gaps, "--", color=PALETTE["black"], lw=1, label="equal gaps")
    right.set(
        xlabel="same-model gap (nats)", ylabel="cross-model gap (nats)", title="Gaps are not ordered as the bounds are"
    )
    right.legend(loc="upper left")
    return figure


def model_gap_figure(gaps: pd.DataFrame) -> plt.Figure:
    """A language model's KL at each token against the bound from the same forward passes (`model_gap.token_gaps`)."""
    use_style()
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH * 0.6, 3.0))
    floor = 1e-9  # nats; smaller ones are drawn here
    for kind, colour in (("cross", PALETTE["orange"]), ("same", PALETTE["blue"])):
        if f"{kind}_kl" in gaps:
            bound, divergence = gaps[f"{kind}_bound"], gaps[f"{kind}_kl"].clip(lower=floor)
            axis.loglog(bound, divergence, ".", color=colour, ms=3, alpha=0.4, label=f"{kind} model", rasterized=True)
    ends = np.array([gaps["same_bound"].min(), gaps.filter(like="_bound").max().max()])
    axis.loglog(ends, ends, "--", color=PALETTE["black"], lw=1, label="gap = bound")
    axis.set(xlabel="bound of Proposition 1 (nats)", ylabel="gap at one token, KL (nats)")
    axis.legend(loc="best", markerscale=3)
    return figure
