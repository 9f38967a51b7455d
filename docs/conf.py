"""Sphinx's settings. generate.py makes the pages that come from data, before Sphinx reads any page."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import generate  # noqa: E402
import hdpo  # noqa: E402

project = html_title = "HDPO study kit"
release = hdpo.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["templates"]

smartquotes = False  # they would turn --help into –help
myst_enable_extensions = ["substitution", "attrs_inline"]  # {{ fact }} of facts.py; {width=…} of a figure
myst_heading_anchors = 3
myst_substitutions = generate.write_pages()

autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "member-order": "bysource"}

html_theme = "furo"  # brings no font and loads nothing from elsewhere
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False


def plain_text(_app, _what, _name, _object, _options, lines: list[str]) -> None:
    """Docstrings are plain text with `code` and indented blocks; make of them what reStructuredText shows alike."""
    shown: list[str] = []
    literal = False
    for line in lines:
        if not line.startswith("    "):
            literal = literal and not line
        elif shown and not shown[-1] and not literal:
            literal = True
            shown += ["::", ""]
        parts = re.split(r"(`[^`]*`)", line)
        shown.append(line if literal else "".join(f"`{p}`" if p[:1] == "`" else escaped(p) for p in parts))
    lines[:] = shown


def escaped(text: str) -> str:
    return re.sub(r"([\\*|`]|_(?!\w))", r"\\\1", text)


def setup(app) -> None:
    app.connect("autodoc-process-docstring", plain_text, priority=400)  # before napoleon
