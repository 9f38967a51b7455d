"""The environment of the HTML templates: all data are escaped, and style and script pass by their hash."""

import base64
import hashlib
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hdpo.report.captions import TEMPLATES


def environment(**filters: Any) -> Environment:
    """The templates of pages, in which all data are escaped; `filters` beside `csp_hash`."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"csp_hash": csp_hash} | filters
    return found


def inline(*names: str) -> Markup:
    """Style or script files of the templates, to stand inside a page."""
    return Markup("\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def csp_hash(text: str) -> str:
    """The source expression by which a content security policy lets an inline script or style pass."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()}'"
