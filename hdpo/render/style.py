"""One look for every figure of the kit: print-sized, colour-blind safe, PNG and PDF side by side."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes

from hdpo.system.files import write_atomic

PAGE_WIDTH = 5.2  # read at paper width, and without zooming on a telephone

# Okabe–Ito colours, safe for the common colour-vision deficiencies and distinct in grey.
PALETTE = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#7F7F7F",
}


def use_style() -> None:
    """Set the kit's matplotlib defaults. Every figure function calls this first."""
    sns.set_theme(context="paper", style="ticks", font_scale=0.95)
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.prop_cycle": plt.cycler(color=list(PALETTE.values())[1:]),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "grid.alpha": 0.3,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "pdf.fonttype": 42,  # embed TrueType, as publishers ask
            "savefig.dpi": 200,
        }
    )


def log_ticks(axis: Axes, ticks: Collection[float], base: float = 10) -> None:
    """A logarithmic x axis with these ticks as plain numbers, and no others."""
    axis.set_xscale("log", base=base)
    axis.set_xticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def save_figure(figure: "plt.Figure", stem: str | Path) -> None:
    """Write `stem`.png and `stem`.pdf without timestamps, so that equal data give equal bytes."""
    stem = Path(stem)
    for kind, undated in (("png", ["Software"]), ("pdf", ["CreationDate", "Producer"])):
        save = partial(figure.savefig, format=kind, metadata=dict.fromkeys(undated))
        write_atomic(stem.with_name(f"{stem.name}.{kind}"), save)
    plt.close(figure)
