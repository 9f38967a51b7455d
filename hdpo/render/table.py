"""Tables as data: built once from numbers, then rendered to Markdown and LaTeX, and written as JSON.

Cells are plain text, and every renderer escapes them for its own format. The web page's is the template table.html of
`hdpo.report`. Typst reads the JSON itself (`booktabs` in style.typ); strings that it reads are never evaluated.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeVar

import pandas as pd
from pydantic import TypeAdapter, ValidationError
from tabulate import tabulate

from hdpo.system.errors import UserError
from hdpo.system.files import read_json, write_atomic, write_json

Align = Literal["left", "right"]
T = TypeVar("T")
# Each mark, a space, and its LaTeX.
MARKS = r"""
    & \&    % \%    $ \$    # \#    _ \_    { \{    } \}
    \ \textbackslash{}    ~ \textasciitilde{}    ^ \textasciicircum{}
    < \textless{}    > \textgreater{}    | \textbar{}
    – --    — ---    “ ``    ” ''    − $-$    ± $\pm$    × $\times$    · $\cdot$    ⊕ $\oplus$    → $\to$
    ≠ $\neq$    ≥ $\geq$    ≤ $\leq$    ½ $\frac{1}{2}$    ² $^2$
    β $\beta$    ε $\varepsilon$    λ $\lambda$    ρ $\rho$    Δ $\Delta$
"""
LATEX = str.maketrans(dict(re.findall(r"(\S) (\S+)", MARKS)) | {"\n": " ", "\N{NO-BREAK SPACE}": "~"})


@dataclass(frozen=True)
class Table:
    """A captioned table with C columns; every cell is text. Numbers are aligned right, words left."""

    id: str  # short and unique on its page
    caption: str
    columns: tuple[str, ...]  # [C]
    rows: tuple[tuple[str, ...], ...]  # [R][C]
    align: tuple[Align, ...]  # [C]
    groups: tuple[str, ...] = ()  # [C], or none: a title that neighbouring columns share, "" for a column without
    notes: tuple[str, ...] = ()  # sentences below the table

    def __post_init__(self) -> None:
        lengths = {len(self.columns), len(self.align), len(self.groups or self.columns), *map(len, self.rows)}
        if len(lengths) > 1:
            raise ValueError(f"table {self.id}: columns, alignment, groups and rows differ in length")

    @property
    def titles(self) -> tuple[str, ...]:
        """One title per column, with its group's in front."""
        groups = self.groups or ("",) * len(self.columns)
        return tuple(f"{group} {column}".strip() for group, column in zip(groups, self.columns, strict=True))

    @property
    def spans(self) -> list[tuple[str, int]]:
        """Titles of groups, and how many neighbouring columns each spans."""
        return [(group, len(list(columns))) for group, columns in groupby(self.groups)]


def make_table(
    id: str, frame: pd.DataFrame, caption: str = "", *, words: Collection[str] | None = None, notes: Iterable[str] = ()
) -> Table:
    """A table of the frame's values as text; `words` names its columns of words, by default the first alone.

    Where the frame's columns have two levels, the upper holds the groups.
    """
    columns = tuple(map(str, frame.columns.get_level_values(-1)))
    groups = tuple(map(str, frame.columns.get_level_values(0))) if frame.columns.nlevels > 1 else ()
    words = columns[:1] if words is None else words
    rows = tuple(tuple(map(str, row)) for row in frame.itertuples(index=False, name=None))
    align: tuple[Align, ...] = tuple("left" if column in words else "right" for column in columns)
    return Table(id, caption, columns, rows, align, groups, tuple(notes))


def stacked(table: Table) -> Table:
    """Columns of one group as one column, their cells below each other; a dash below a value is left out."""
    if not table.groups:
        return table
    neighbours = groupby(enumerate(table.groups), key=lambda column: column[1] or column[0])
    spans = [[place for place, _ in columns] for _, columns in neighbours]

    def stack(cells: Sequence[str]) -> str:
        return "\n".join([cells[0], *(cell for cell in cells[1:] if cell not in ("—", cells[0]))])

    rows = tuple(tuple(stack([row[i] for i in places]) for places in spans) for row in table.rows)
    columns = tuple(table.groups[places[0]] or table.columns[places[0]] for places in spans)
    align = tuple(table.align[places[0]] for places in spans)
    return replace(table, columns=columns, rows=rows, align=align, groups=())


def to_markdown(table: Table) -> str:
    """Caption in bold, a pipe table, and the notes; without a line break at the end."""
    rows = [[markdown_text(cell) for cell in row] for row in (table.titles, *table.rows)]
    pipes = tabulate(
        rows[1:], rows[0], tablefmt="pipe", colalign=table.align if table.rows else None, disable_numparse=True
    )
    caption = [f"**{markdown_text(table.caption)}**"] if table.caption else []
    return "\n\n".join([*caption, pipes, *map(markdown_text, table.notes)])


def to_latex(table: Table) -> str:
    """A float with a booktabs tabular; it needs the package booktabs."""

    def line(cells: Iterable[str]) -> str:
        text = " & ".join(map(latex_text, cells)) + r" \\"
        return "{}" + text if text.startswith(("[", "*")) else text  # else an option of the \\ before it

    shape = "".join("l" if side == "left" else "r" for side in table.align)
    tabular = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", line(table.titles), r"\midrule"]
    tabular += [*map(line, table.rows), r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\par {latex_text(note)}" for note in table.notes]
    caption = [rf"\caption{{{latex_text(table.caption)}}}"] if table.caption else []
    return "\n".join([r"\begin{table*}", r"\centering", r"\footnotesize", *caption, *tabular, *notes, r"\end{table*}"])


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, inside a cell of a table or outside."""
    text = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\_", text)  # within a word it is no markup
    return re.sub(r"([|`*$~]|\](?=[(\[:])|^#)", r"\\\1", text)


def latex_text(text: str) -> str:
    return text.translate(LATEX)


def write_table(stem: Path, numbers: pd.DataFrame, *tables: Table) -> None:
    """Write `stem`.csv from the numbers, and .json, .md and .tex from the tables made of them."""
    write_text(stem.with_name(f"{stem.name}.csv"), numbers.to_csv(index=False, float_format="%.6f"))
    write_json(stem.with_name(f"{stem.name}.json"), [asdict(table) for table in tables])
    write_text(stem.with_name(f"{stem.name}.md"), "\n\n".join(map(to_markdown, tables)) + "\n")
    in_latex = "% needs \\usepackage{booktabs}\n" + "\n\n".join(map(to_latex, tables)) + "\n"
    write_text(stem.with_name(f"{stem.name}.tex"), in_latex)


def read_tables(path: Path) -> dict[str, Table]:
    """Tables by id as `write_table` wrote them; none where the file is missing.

    Raises:
        UserError: the file is damaged, or of another version.
    """
    return {table.id: table for table in read_as(tuple[Table, ...], path, "tables")} if path.exists() else {}


def read_as(kind: type[T], path: Path, what: str) -> T:
    """JSON as an instance of `kind`, `what` in words; see `read_tables` for the errors."""
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: not {what} of this version; write it again") from error


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
