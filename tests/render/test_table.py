"""Tables as data: what each format shows of them, escaped; what is written and read back; what is refused."""

import html
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from hdpo.render.document import Document, Section, document_markdown, read_document, write_document
from hdpo.render.table import (
    Table,
    make_table,
    markdown_text,
    read_tables,
    stacked,
    to_latex,
    to_markdown,
    write_table,
)
from hdpo.report.environment import environment
from hdpo.system.errors import UserError

HOSTILE = r"[a](b) | # $x$ <script>alert(1)</script> \input{x} ] & % ~ ^ {_} `c` *d* _e_ ~~f~~"
SCORES = Table(
    "scores",
    "Scores & differences.",
    ("method", "%", "Δ", "last"),
    (("GRPO", "57.0", "—", "56.0"), ("HDPO", "58.0", "+1.0 [0.5, 1.5]", "59.0")),
    ("left", "right", "right", "right"),
    groups=("", "greedy", "greedy", ""),
    notes=("One note.",),
)


def to_html(table: Table, badges: tuple[str, ...] = ()) -> str:
    return str(environment().get_template("table.html").module.grid(table, badges))


def hostile_table() -> Table:
    return make_table("hostile", pd.DataFrame({"a": [HOSTILE, "["], HOSTILE: ["1", "2\n3"]}), HOSTILE, notes=[HOSTILE])


class Text(HTMLParser):
    """Tags and text of a page, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_markdown_has_a_title_a_pipe_table_and_notes():
    caption, table, note = to_markdown(SCORES).split("\n\n")
    assert caption == "**Scores &amp; differences.**" and note == "One note."
    head, rule, *rows = table.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["method", "greedy %", "greedy Δ", "last"]
    assert re.fullmatch(r"\|:-+\|-+:\|-+:\|-+:\|", rule)
    assert [cell.strip() for cell in rows[1].strip("|").split("|")] == ["HDPO", "58.0", "+1.0 [0.5, 1.5]", "59.0"]


def test_hostile_text_stays_text_in_markdown():
    text = to_markdown(hostile_table())
    assert "<script" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3  # no cell is split
    shown = markdown_text(HOSTILE)
    assert re.sub(r"\\(.)", r"\1", html.unescape(shown)) == HOSTILE  # unescaping gives the text again
    assert not re.search(r"(?<!\\)[`*$~]", shown) and "](" not in re.sub(r"\\.", "", shown)
    assert markdown_text("# no heading").startswith(r"\#") and markdown_text("P_rest") == "P_rest"


def test_hostile_text_stays_text_in_latex():
    text = to_latex(hostile_table())
    cells = text[text.index(r"\toprule") :]
    commands = set(re.findall(r"\\[a-zA-Z]+", text))
    structure = {
        r"\begin",
        r"\end",
        r"\centering",
        r"\footnotesize",
        r"\caption",
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    }
    assert commands - structure - {r"\par"} <= {
        rf"\text{name}" for name in ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar")
    }
    assert not re.search(r"(?<!\\)[%$#_]", text) and r"\$x\$" in text
    assert "\\midrule\n{}[a]" in cells and "\n{}[ & 2 3" in cells  # a bracket after \\ would be its option


def test_latex_is_a_booktabs_float_in_ascii():
    text = to_latex(make_table("t", pd.DataFrame({"x": ["50% & a_b"], "y": ["−1"]}), "Δ at λ = 0.1"))
    assert text.isascii() and r"50\% \& a\_b & $-$1 \\" in text and r"\begin{tabular}{lr}" in text


def test_hostile_text_stays_text_in_html():
    page = Text(to_html(hostile_table()))
    assert "script" not in page.tags
    assert page.text.replace("\N{NO-BREAK SPACE}", " ").count(HOSTILE) == 4  # caption, head, cell, note


def test_html_groups_columns_and_turns_verdicts_into_badges():
    table = make_table("v", pd.DataFrame({"claim": ["a"], "verdict": ["not run"]}))
    assert '<span class="badge not-run">not run</span>' in to_html(table, ("not run",))
    assert "badge" not in to_html(table)
    page = to_html(SCORES)
    assert '<td colspan="1"></td><th scope="colgroup" colspan="2">greedy</th><td colspan="1"></td>' in page
    assert "<span>58.0</span></td>" in page and 'id="table-scores"' in page


def test_stacking_puts_a_group_into_one_column():
    table = stacked(SCORES)
    assert table.columns == ("method", "greedy", "last") and table.groups == ()
    assert table.rows == (("GRPO", "57.0", "56.0"), ("HDPO", "58.0\n+1.0 [0.5, 1.5]", "59.0"))


def test_rows_that_differ_in_length_are_no_table():
    with pytest.raises(ValueError, match="differ in length"):
        Table("t", "", ("a", "b"), (("1",),), ("left", "right"))


def test_tables_are_read_back_as_they_were_written(tmp_path):
    write_table(tmp_path / "t", pd.DataFrame({"x": [0.5]}), SCORES, hostile_table())
    assert read_tables(tmp_path / "t.json") == {"scores": SCORES, "hostile": hostile_table()}
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "t.json", "t.md", "t.tex"}
    assert read_tables(tmp_path / "missing.json") == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda tables: tables[0].pop("rows"),
        lambda tables: tables[0]["rows"].append(["too", "few"]),
        lambda tables: tables[0]["rows"][0].__setitem__(1, 57.0),
        lambda tables: tables[0]["align"].__setitem__(0, "up"),
        lambda tables: tables.append("no table"),
    ],
)
def test_other_data_are_refused_in_one_line(tmp_path, damage):
    write_table(tmp_path / "t", pd.DataFrame({"x": [0.5]}), SCORES)
    tables = json.loads((tmp_path / "t.json").read_text())
    damage(tables)
    (tmp_path / "t.json").write_text(json.dumps(tables))
    with pytest.raises(UserError, match=r"t\.json: not tables of this version"):
        read_tables(tmp_path / "t.json")


def test_documents_are_read_back_as_they_were_written(tmp_path):
    document = Document("Title", (Section("", ("First.", HOSTILE)), Section("Part", tables=(SCORES,))))
    write_document(tmp_path / "d", document)
    assert read_document(tmp_path / "d.json") == document and read_document(tmp_path / "none.json") is None
    assert (tmp_path / "d.md").read_text() == document_markdown(document)
    assert document_markdown(document).startswith("# Title\n\nFirst.\n\n")
    (tmp_path / "d.json").write_text('{"title": "t", "sections": [{"title": 1, "text": [], "tables": []}]}')
    with pytest.raises(UserError, match=r"d\.json: not a document of this version"):
        read_document(tmp_path / "d.json")
