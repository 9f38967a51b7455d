"""How numbers and tables are put: percentages and points, and one table as CSV, Markdown and LaTeX."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hdpo.system.files import write_atomic

NOT_RUN = "not run"
ESCAPES = {
    "\\": r"\textbackslash{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≠": r"$\neq$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "½": r"$\frac{1}{2}$",
    "⊕": r"$\oplus$",
    "→": r"$\to$",
    "β": r"$\beta$",
    "ε": r"$\varepsilon$",
    "λ": r"$\lambda$",
    "Δ": r"$\Delta$",
    "²": "$^2$",
    "\N{NO-BREAK SPACE}": "~",
}


def percent(share: float | None) -> str:
    """0.6519 as `65.2`; nothing there as `not run`."""
    return NOT_RUN if share is None or math.isnan(share) else f"{100 * share:.1f}"


DF_MEANS = (
    "df are the degrees of freedom of an interval: about how many independent seeds or problems its width rests on,"
    " less one"
)


def degrees(df: float) -> str:
    """Degrees of freedom, `4.1` or `511`; nothing where there are none."""
    return "" if math.isnan(df) else f"{df:.1f}" if df < 10 else f"{df:.0f}"


def beside(df: float) -> str:
    """Degrees of freedom as they stand behind an interval: ` (df 4.1)`, never broken over two lines."""
    return "" if math.isnan(df) else f" (df\N{NO-BREAK SPACE}{degrees(df)})"


def points(difference: float | None, low: float = math.nan, high: float = math.nan, df: float = math.nan) -> str:
    """A difference of shares in percentage points, with its interval if there is one: `+0.6 [−1.2, +2.4] (df 4.1)`."""
    if difference is None or math.isnan(difference):
        return "—"
    ends = "" if math.isnan(low) else f" [{_signed(low)}, {_signed(high)}]{beside(df)}"
    return _signed(difference) + ends


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def metric_label(metric: str) -> str:
    return "greedy" if metric == "greedy" else metric.replace("any@", "any of ")


def run_label(run: str) -> str:
    """`hdpo-frozen-0.1` as `HDPO frozen, λ = 0.1`."""
    if run.startswith("hdpo-"):
        _, teacher, weight = run.split("-", 2)
        return f"HDPO {teacher}, λ = {weight}"
    return {"base": "base model", "grpo": "GRPO"}[run]


def latex(frame: pd.DataFrame) -> str:
    """A booktabs tabular: first column left-aligned, the others centred, every cell escaped."""
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    head, *body = (" & ".join(_escape(cell) for cell in row) + r" \\" for row in rows)
    lines = [r"\begin{tabular}{l" + "c" * (len(frame.columns) - 1) + "}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table, every cell as text."""
    safe = frame.astype(str).map(lambda cell: cell.replace("|", r"\|"))
    return safe.to_markdown(index=False, disable_numparse=True)


def write_table(stem: Path, data: pd.DataFrame, blocks: Sequence[tuple[str, pd.DataFrame]]) -> None:
    """Write `stem`.csv from the numbers in `data`, and .md and .tex from captioned `blocks` made for reading."""
    in_markdown = "\n\n".join(f"**{caption}**\n\n{markdown(frame)}" for caption, frame in blocks) + "\n"
    floats = [
        "\\begin{table*}\n\\centering\n\\footnotesize\n"
        f"\\caption{{{_escape(caption)}}}\n{latex(frame)}\n\\end{{table*}}"
        for caption, frame in blocks
    ]
    in_latex = "% needs \\usepackage{booktabs}\n" + "\n\n".join(floats) + "\n"
    write_text(stem.with_name(stem.name + ".md"), in_markdown)
    write_text(stem.with_name(stem.name + ".tex"), in_latex)
    write_text(stem.with_name(stem.name + ".csv"), data.to_csv(index=False, float_format="%.6f"))


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _escape(text: str) -> str:
    return "".join(ESCAPES.get(mark, mark) for mark in str(text))
