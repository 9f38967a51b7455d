"""What the pages say: short sentences, and no metric left out."""

import math
import re
from textwrap import indent

import pyarrow.parquet as pq
import pytest

from hdpo.report.samples import LIMITS
from hdpo.run.samples import ROLLOUTS, TRIES
from hdpo.run.trackers import PATIENCE
from hdpo.study.study import Study
from helpers.studies import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "templates").glob("*.md"))]
MOST = 30  # words of a sentence
WORD = re.compile(r"[^\W_]+(?:['’@.-]\w+)*")


def sentences(text: str) -> list[str]:
    """Of paragraphs, list items and cells of tables; code blocks, comments and template tags are left out."""
    text = re.sub(r"^<!-- from .*?^<!-- end -->", "", text, flags=re.MULTILINE | re.DOTALL)  # generated
    text = re.sub(r"^```.*?^```|<!--.*?-->|\{%.*?%\}", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)  # a link's address
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#]|\d+\.) ?)|(?<!\\)\|", text)
    return [sentence for part in parts for sentence in re.split(r"(?<=[.!?])[)*_”\"]*\s", " ".join(part.split()))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_sentence_is_long(page):
    found = [line for line in sentences(page.read_text(encoding="utf-8")) if len(WORD.findall(line)) > MOST]
    assert not found, f"{page.name}: more than {MOST} words"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "profiles/README.md"])
def test_links_outside_the_site_lead_to_files(page):
    """Sphinx checks those of the site."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


QUOTED = {
    "samples-and-trackers.md": [
        f"keeps a sample every {Study.model_fields['samples'].default} steps",
        f"rollouts ({ROLLOUTS} at most)",
        f"tries ({TRIES} at most)",
        f"for {PATIENCE:.0f} seconds at most",
        f"from {LIMITS[0]} nats on; the most is ln 2 = {math.log(2):.2f}",
    ],
    "trl.md": [f"tested with TRL {re.search(r'^trl==(.+)$', (ROOT / 'constraints.txt').read_text(), re.M)[1]}"],
}


@pytest.mark.parametrize(("page", "text"), [(page, text) for page, texts in QUOTED.items() for text in texts])
def test_numbers_are_those_of_the_code(page, text):
    assert text in " ".join((DOCS / page).read_text(encoding="utf-8").split())


def test_the_page_on_metrics_names_every_curve():
    columns = pq.read_schema(ROOT / "results/reference/small/curves.parquet").names
    named = set(re.findall(r"`([\w.*]+)`", (DOCS / "metrics.md").read_text(encoding="utf-8")))
    missing = {name for name in columns if not {name, f"{name.partition('.')[0]}.*"} & named}
    assert missing == {"step", "run", "seed"}


def test_the_readme_is_short_and_shows_the_method_as_it_is():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    shown = re.search(r"<!-- not run: lines of a method -->\n```python\n(.*?)```", text, re.DOTALL)[1]
    assert indent(shown, 8 * " ") in (ROOT / "hdpo/methods/hdpo.py").read_text(encoding="utf-8")
