"""The figure of controls and ablations: every planned contrast, with what would not matter shaded."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from hdpo.render.formats import sentence_case
from hdpo.render.labels import state
from hdpo.render.style import PAGE_WIDTH, PALETTE, use_style
from hdpo.report.run_style import METRICS


def controls_figure(frame: pd.DataFrame) -> Figure:
    """Differences in points with 95 % intervals: a row per contrast, a panel per regime, the margin in grey."""
    use_style()
    rows = frame.drop_duplicates(["kind", "ask", "what"])[["kind", "ask", "what"]].reset_index(drop=True)
    regimes = list(dict.fromkeys(frame["regime"]))
    size = (PAGE_WIDTH, 1.1 + 0.24 * len(rows))
    figure, axes = plt.subplots(1, max(len(regimes), 1), figsize=size, sharex=True, sharey=True, squeeze=False)
    for name, axis in zip(regimes, axes[0], strict=False):
        part = frame[frame["regime"] == name].merge(rows.reset_index(names="place"), on=["kind", "ask", "what"])
        margin = part["margin"].max()
        if margin > 0:
            axis.axvspan(-margin, margin, color=PALETTE["grey"], alpha=0.2, lw=0)
        axis.axvline(0, color=PALETTE["black"], lw=0.9)
        for offset, (metric, (_, color)) in zip((0.15, -0.15), METRICS.items(), strict=True):
            own = part[part["metric"] == metric]
            ends = [100 * (own["diff"] - own["low"]), 100 * (own["high"] - own["diff"])]
            axis.errorbar(100 * own["diff"], own["place"] - offset, xerr=ends, fmt="o", ms=3, lw=1.0, color=color)
        axis.set_title(sentence_case(name), fontsize="medium")
        axis.set_xlabel("points")
    axes[0][0].set_yticks(range(len(rows)), rows["what"], fontsize=6.5)
    axes[0][0].set_ylim(len(rows) - 0.5, -0.5)
    for place, (label, color) in enumerate(METRICS.values()):
        axes[0][-1].annotate(
            label, (0.98, 0.99 - 0.3 / len(rows) * (1 + 2 * place)), xycoords="axes fraction", color=color, ha="right"
        )
    state(figure, _message(frame))
    return figure


def _message(frame: pd.DataFrame) -> str:
    """How many contrasts came out in which way."""
    counts = frame["verdict"].str.replace(r" within.*", "", regex=True).value_counts()
    words = ", ".join(f"{counts[word]} {word}" for word in ("better", "worse", "same", "not settled") if word in counts)
    return f"Of {len(frame)} contrasts: {words}. Grey: too little to matter" if words else "Controls: not run"
