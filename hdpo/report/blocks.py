"""Markdown as this kit writes it, read back as plain data, so that every page shows the same cells as the tables."""

import re
from pathlib import Path
from typing import Any

from hdpo.system.errors import UserError

Block = dict[str, Any]
IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<file>[^)\s]+)\)")
PROTOCOLS = ("best", "last", "selected")


def read_blocks(path: Path) -> list[Block] | None:
    """Blocks in order, None where the file is not there. `kind` is one of

    heading  level, text
    text     text
    list     items
    image    alt, file (relative to the Markdown file)
    table    caption (a bold paragraph right above it, or ""), head [C], rows [R][C], numeric [C]

    Raises:
        UserError: unreadable, or a table's rows differ in length.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged or unreadable; write it again") from error
    blocks: list[Block] = []
    for chunk in re.split(r"\n\s*\n", text.strip()):
        lines = chunk.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith("|"):
            caption = blocks.pop()["text"] if blocks and blocks[-1].pop("bold", False) else ""
            blocks.append(_table(path, lines) | {"caption": caption})
        elif match := re.match(r"(#+)\s+(.*)", lines[0]):
            blocks.append({"kind": "heading", "level": len(match[1]), "text": _plain(match[2])})
            if len(lines) > 1:
                blocks.append(_text(lines[1:]))
        elif match := IMAGE.fullmatch(" ".join(lines)):
            blocks.append({"kind": "image", **match.groupdict()})
        elif all(re.match(r"[-*] |  ", line) for line in lines):
            items = re.split(r"\n[-*] ", "\n" + "\n".join(lines))[1:]
            blocks.append({"kind": "list", "items": [_plain(" ".join(item.split())) for item in items]})
        else:
            blocks.append(_text(lines))
    for block in blocks:
        block.pop("bold", None)
    return blocks


def tables_of(blocks: list[Block] | None) -> list[Block]:
    """The tables among `blocks`, in order."""
    return [block for block in blocks or [] if block["kind"] == "table"]


def stacked(table: Block) -> Block:
    """Every column `Δ x` put under the cells of column `x`: value, newline, difference."""
    head = table["head"]
    below = {head.index(name[2:]): i for i, name in enumerate(head) if name.startswith("Δ ") and name[2:] in head}
    kept = [i for i in range(len(head)) if i not in below.values()]
    rows = [
        [f"{row[i]}\n{row[below[i]]}" if row[below.get(i, i)] not in ("—", row[i]) else row[i] for i in kept]
        for row in table["rows"]
    ]
    return table | {"head": [head[i] for i in kept], "rows": rows, "numeric": [table["numeric"][i] for i in kept]}


def grouped(table: Block) -> Block:
    """Adds `groups`, the spans of a first header line: columns `a: b`, or `a best`, stand under a common `a`."""
    groups, head = [], []
    for name in table["head"]:
        before, _, after = name.partition(": ")
        if not after and name.rpartition(" ")[2] in PROTOCOLS:
            before, _, after = name.rpartition(" ")
        group, own = (before, after) if after else ("", name)
        if groups and groups[-1]["title"] == group:
            groups[-1]["span"] += 1
        else:
            groups.append({"title": group, "span": 1})
        head.append(own)
    return table | {"head": head, "groups": groups}


def make_table(caption: str, head: list[str], rows: list[list[str]]) -> Block:
    """A table block from cells that are already text."""
    return {"kind": "table", "caption": caption, "head": head, "rows": rows, "numeric": _numeric(rows, len(head))}


def _table(path: Path, lines: list[str]) -> Block:
    cells = [
        [_plain(cell.replace(r"\|", "|")) for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])] for line in lines
    ]
    head, _, *rows = cells if len(cells) > 1 else [*cells, []]
    if any(len(row) != len(head) for row in rows):
        raise UserError(f"{path}: a table's rows differ in length; write it again")
    return make_table("", head, rows)


def _numeric(rows: list[list[str]], columns: int) -> list[bool]:
    """Whether a column holds numbers, with or without units and intervals, and no words."""
    number = re.compile(r"[−+-]?[\d.,\s]+(e[−-]?\d+)?\s?%?(\s\[.*\]( \(df.*\))?|\s±.*)?|—|not run|\d+ of \d+( seeds)?|")
    return [bool(rows) and all(number.fullmatch(row[i].split("\n")[0]) for row in rows) for i in range(columns)]


def _text(lines: list[str]) -> Block:
    text = " ".join(line.strip() for line in lines)
    bold = text.startswith("**") and text.endswith("**") and text.count("**") == 2
    return {"kind": "text", "text": _plain(text), "bold": bold}


def _plain(text: str) -> str:
    return re.sub(r"\*\*|(?<!\\)`", "", text).strip()
