"""Every method of the kit: a short file, a test file, a source, and a row of the table in docs/methods.md."""

import ast
import io
import re
import tokenize

import pytest

from hdpo.study.registry import method_class, methods
from helpers.studies import ROOT

OWN = [name for name, place in methods().items() if place.startswith("hdpo.methods.")]
LAYOUT = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}


def source(name: str) -> str:
    return (ROOT / f"hdpo/methods/{name.replace('-', '_')}.py").read_text(encoding="utf-8")


def lines_of_code(text: str) -> int:
    """Lines that hold more than layout, comments and docstrings."""
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    there = [token for token in tokens if tokenize.tok_name[token.type] not in LAYOUT]
    return len({line for token in there for line in range(token.start[0], token.end[0] + 1)} - documented)


def test_lines_of_code_are_counted_without_docstrings():
    assert lines_of_code('"""A\nB"""\n\nx = 1  # one\n# two\ny = [\n    2,\n]\n\n\ndef f():\n    """C"""\n') == 5


@pytest.mark.parametrize("name", OWN)
def test_a_method_is_a_short_file_with_a_test_file(name):
    assert 10 < lines_of_code(source(name)) <= 60
    assert (ROOT / f"tests/methods/test_{name.replace('-', '_')}.py").is_file()


def test_the_page_lists_every_method_with_its_parameter_and_its_sources():
    """In the table of docs/methods.md, the main parameter is the last of those that a run's name shows."""
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    section = page.partition("## The kit's methods\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")
    ]
    table = {name.strip("`"): (text, parameter.strip("`"), sources) for name, text, parameter, sources in rows}
    assert sorted(table) == sorted(OWN) and len(rows) == len(OWN)
    for name, (text, parameter, sources) in table.items():
        assert parameter == (method_class(name).named or ("–",))[-1] and len(text) > 5, name
        head = ast.get_docstring(ast.parse(source(name)))
        assert set(re.findall(r"\d{4}\.\d{5}", sources)) == set(re.findall(r"\d{4}\.\d{5}", head)), name
