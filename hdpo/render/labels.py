"""Words in figures: a title that states the message, and names beside what they name, never over each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter
from matplotlib.typing import ColorType
from scipy.optimize import isotonic_regression

from hdpo.render.style import PALETTE

PERCENT = FuncFormatter(lambda share, _: f"{round(100 * share, 6):g}".replace("-", "−"))
NOTHING = "No method is compared with GRPO here"  # the message of a figure without data
Name = tuple[str, float, ColorType]  # what is written, beside which y, in which colour


def state(figure: Figure, message: str) -> None:
    """The message above all panels, broken where the figure ends, but not inside `λ = 1` or `5 %`."""
    for parts in (" = ", " %", " points"):
        message = message.replace(parts, parts.replace(" ", "\N{NO-BREAK SPACE}"))
    figure.suptitle(message, x=0.01, ha="left", wrap=True, fontsize="medium", fontweight="bold")


def name_ends(names: Mapping[Axes, Sequence[Name]]) -> None:
    """Names at the right edge of each panel, moved apart where they would overlap. Call it last: limits stay."""
    for axis in names:
        axis.set_ylim(axis.get_ylim())
    figure = next(iter(names)).get_figure(root=True) if any(names.values()) else None
    if figure is None:
        return
    figure.draw_without_rendering()  # heights are known after the layout
    size = FontProperties(size="small").get_size_in_points()
    for axis, ends in names.items():
        height = axis.get_window_extent().height * 72 / figure.dpi
        wanted = (axis.transData.transform([(1, y) for _, y, _ in ends]) if ends else np.zeros((0, 2)))[:, 1]
        low = axis.get_window_extent().y0
        lines = max((text.count("\n") + 1 for text, _, _ in ends), default=1)
        at = spread((wanted - low) * 72 / figure.dpi, 1.25 * size * lines) / height
        how: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": "small"}
        for (text, _, color), y in zip(ends, at, strict=True):
            axis.annotate(text, (1, y), (4, 0), va="center", color=darker(color), **how)


def spread(wanted: np.ndarray, gap: float) -> np.ndarray:
    """The places nearest to `wanted`, by least squares, that keep its order and lie `gap` apart."""
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    places = np.empty(len(wanted))
    places[order] = isotonic_regression(wanted[order] - steps).x + steps if len(wanted) else []
    return places


def darker(color: ColorType) -> ColorType:
    """A colour in which small text is easy to read."""
    return sns.blend_palette([color, "black"], 5)[1]


def key(figure: Figure, handles: Sequence[Any], **options: Any) -> None:
    """One row of names below the panels, for what cannot be named in place."""
    look: dict[str, Any] = {"loc": "outside lower center", "ncols": len(handles), "fontsize": "small"} | options
    figure.legend(handles=list(handles), handletextpad=0.5, columnspacing=1.4, **look)


def say_not_run(axis: Axes) -> None:
    axis.annotate("not run", (0.5, 0.7), xycoords="axes fraction", ha="center", color=PALETTE["grey"])
