"""The built site: every link and anchor resolves, and nothing is loaded from elsewhere."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from hdpo.claims.claims import load_claims
from helpers.studies import ROOT

SITE = ROOT / "build/docs"
LOADED = re.compile(r"(?:url\(|@import\s*)[\"']?([^\"')]+)")  # by a style sheet
pytestmark = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site is built; make docs")


class Page(HTMLParser):
    """Anchors, links, and what the browser loads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors.add(found.get("id") or "")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.loaded.append(found["href"])
        elif "src" in found:
            self.loaded.append(found["src"])


@cache
def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def pages() -> list[Path]:
    return sorted(SITE.rglob("*.html"))


def test_every_link_leads_somewhere():
    broken = []
    for path in pages():
        for link in page(path).links + page(path).loaded:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.is_file() and (target.suffix != ".html" or unquote(parts.fragment) in page(target).anchors)
            broken += [] if there else [f"{path.relative_to(SITE)}: {link}"]
    assert not broken


def test_nothing_is_loaded_from_elsewhere():
    loaded = [(path.name, link) for path in pages() for link in page(path).loaded]
    for style in SITE.rglob("*.css"):
        loaded += [(style.name, link) for link in LOADED.findall(style.read_text(encoding="utf-8"))]
    assert [it for it in loaded if urlsplit(it[1]).scheme not in ("", "data") or it[1].startswith("//")] == []


def test_every_claim_has_a_page():
    assert {f"{claim.id}.html" for claim in load_claims()} <= {path.name for path in SITE.glob("generated/claims/*")}
