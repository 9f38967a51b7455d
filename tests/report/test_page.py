"""The web page: self-contained, escaped, readable, and working in a browser where one is installed."""

import contextlib
import html
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from hdpo.claims.claims import VERDICTS
from hdpo.report.publish import publish
from hdpo.report.web_page import embedded_image, write_page
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.pages import BROWSER, Elements, browse, check_policy, contrast
from helpers.reported_study import (
    verdicts,
    write_audit_page,
    write_lead,
    write_record,
    write_story,
    write_theory_table,
)
from helpers.synthetic import make_study

HOSTILE = "<script>document.title='bad'</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def finished(reported_folder, tmp_path_factory) -> Path:
    """A folder with a whole made-up study and its page."""
    folder = tmp_path_factory.mktemp("paged") / "study"
    shutil.copytree(reported_folder, folder)
    with contextlib.chdir(folder):
        write_page(load_study("study.yaml"))
    return folder


@pytest.fixture
def study(finished, enter_copy):
    return enter_copy(finished)


@pytest.fixture(scope="module")
def page(finished) -> str:
    return (finished / "results" / "tiny" / "summary.html").read_text(encoding="utf-8")


# The file.


def test_equal_results_give_equal_bytes(study):
    first = (study.root / "summary.html").read_bytes()
    assert write_page(study).read_bytes() == first and len(first) < 3_000_000
    assert str(Path.cwd()).encode() not in first


def test_it_asks_for_nothing_outside_itself(page):
    elements = Elements(page)
    assert elements.open == []
    sources = [attributes[key] for _, attributes in elements.found for key in ("src", "srcset") if key in attributes]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(link["href"] == "data:," for link in elements.all("link"))
    assert not re.search(r"@import|url\(", page)
    check_policy(page)
    assert not any(key.startswith("on") or key == "style" for _, attributes in elements.found for key in attributes)


def test_the_answer_comes_first_and_verdicts_agree_with_the_check(study, page):
    answer = json.loads((study.root / "check.json").read_text())["answer"]
    order = [f'"answer">{html.escape(answer)}<', "<img", "Effects, ", 'id="verdict-table"', "Scores</h2>"]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    shown = re.findall(r'<tr role="row" data-verdict="([^"]+)"', page)
    assert {verdict: shown.count(verdict) for verdict in verdicts(study)} == verdicts(study)


def test_the_finding_and_the_published_story_follow_the_studys_own_answer(study, page):
    assert "Both regimes" not in page and 'id="story"' not in page
    write_lead(study, "Both regimes told.")
    write_story(study)
    text = write_page(study).read_text()
    order = [
        'class="answer"',
        "<p>Both regimes told.</p>",
        "Effects, ",
        "Is it so?",
        'id="story"',
        'id="verdict-table"',
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places) and "In 7 further tries in samples" in text
    assert 'href="../finding/playground.html"' in text and "finding.md" not in text


def test_a_published_page_points_at_the_published_finding(study):
    write_lead(study, "Both regimes told.")
    shutil.move("results/finding", "results/reference/finding")
    assert 'href="../reference/finding/playground.html"' in write_page(study).read_text()
    text = (publish(study) / "summary.html").read_text()
    assert 'href="../finding/playground.html"' in text and "../reference/" not in text


def test_accessible_by_its_markup(page):
    elements = Elements(page)
    assert elements.all("html")[0]["lang"] == "en"
    assert all(image["alt"] and image["width"] and image["height"] for image in elements.all("img"))
    assert all(head.get("scope") for head in elements.all("th"))
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [link["href"][1:] for link in elements.all("a") if link["href"].startswith("#")]
    assert set(targets) <= set(ids)
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))


def test_colours_have_the_contrast_that_wcag_aa_asks_for(page):
    light, dark = re.findall(r":root \{\s*(?:color-scheme: light dark;)?(.*?)\}", page, re.S)[:2]
    for block in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        pairs = [(name, "page") for name in ("text", "muted", "link")]
        pairs += [(name, "raised") for name in ("text", "muted")]
        pairs += [(name.removesuffix("-back"), name) for name in colours if name.endswith("-back")]
        assert len(pairs) == 10
        for front, back in pairs:
            assert contrast(colours[front], colours[back]) >= 4.5, (front, back)


def test_data_are_text_whatever_they_hold(study):
    for run in study.runs:
        for seed in study.seeds:
            write_record(study, run, seed, cpu=HOSTILE, commit=HOSTILE)
    write_theory_table(study, statement=HOSTILE, verdict="fails")
    write_audit_page(study, HOSTILE)
    text = write_page(study).read_text()
    assert text.count(html.escape("<script>document.title")) >= 4
    elements = Elements(text)
    assert len(elements.all("script")) == 1 and all("onerror" not in image for image in elements.all("img"))


def test_provenance_is_shown(study, page):
    for part in (study.identity, study.run("grpo", 1).hash, "0123456789abcdef0123456789abcdef01234567", "Some CPU"):
        assert part in page
    assert "seeds 1, 2, 3" in page and "torch 2.13.0" in page and "40\N{NO-BREAK SPACE}000" in page
    assert re.search(r"Its SHA-256</dt><dd><code>[0-9a-f]{64}<", page)
    assert "test_samples: 16" in page and re.search(r"Of \d+ means of the committed run, \d+ “identical” in", page)


def test_the_processes_of_a_run_are_shown_beside_its_hardware(study, page):
    assert "GPU: none; processes per run: 1, threads of each: 1;" in page  # records from before there could be several
    write_record(study, "grpo", 1, gpu="Some GPU", processes=8, threads=2)
    assert "GPU: Some GPU; processes per run: 8, threads of each: 2;" in write_page(study).read_text()


def test_departures_from_the_plan_are_listed_where_there_are_any(study, page):
    assert 'id="departures"' not in page
    check = json.loads((study.root / "check.json").read_text())
    (study.root / "check.json").write_text(json.dumps(check | {"departures": [HOSTILE]}))
    listed = re.search(r'id="departures">.*?<li>(.*?)</li>', write_page(study).read_text(), re.S)[1]
    assert "<" not in listed and html.unescape(listed) == HOSTILE


def test_nothing_run_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = write_page(make_study(tmp_path)).read_text()
    assert "0 of 21 planned training runs" in text and text.count(">not run<") > 40
    assert "<img" not in text and Elements(text).open == []


def test_a_damaged_figure_is_named(study):
    (study.root / "figures" / "cliffs.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cliffs\.png: not an image"):
        write_page(study)


def test_transparency_becomes_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert embedded_image(tmp_path / "clear.png")["width"] == 4


# In a browser.

PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const table = document.getElementById("verdict-table");
  const column = (place) => [...table.tBodies[0].rows].map((row) => row.cells[place].textContent.trim());
  const heads = [...table.tHead.rows[0].cells];
  const press = (place) => heads[place].querySelector("button").click();
  const seen = {};
  seen.images = [...document.images].map((image) => image.naturalWidth);
  for (const part of document.querySelectorAll("details")) part.open = true;
  seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  press(3); seen.measured = column(3); seen.sort = heads[3].getAttribute("aria-sort");
  press(3); seen.reverse = column(3);
  press(6); seen.verdicts = column(6);
  press(0); seen.ids = column(0);
  const wanted = [...document.querySelectorAll(".filter button")].at(-1);
  wanted.click();
  seen.filter = [wanted.dataset.verdict, [...new Set([...table.tBodies[0].rows].filter((row) => row.offsetHeight)
    .map((row) => row.dataset.verdict))], document.getElementById("verdict-status").textContent];
  heads[1].querySelector("button").focus();
  seen.focus = document.activeElement.textContent;
  seen.title = document.title;
  top.document.getElementById("seen").textContent = JSON.stringify(seen);
}, 50));
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_the_page_itself_gives_no_console_message(finished, tmp_path):
    document, console = browse((finished / "results/tiny/summary.html").as_uri(), tmp_path)
    assert console == "" and '<html lang="en" class="js">' in document


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_it_works_in_a_browser(page, tmp_path, width):
    # A frame of that width, which a browser's window may refuse; without the policy, which forbids the probe.
    inner = re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", PROBE + "</body>")
    outer = f'<pre id="seen"></pre><iframe width="{width}" height="800" srcdoc="{html.escape(inner)}"></iframe>'
    (tmp_path / "frame.html").write_text(f'<!DOCTYPE html><meta charset="utf-8">{outer}', encoding="utf-8")
    document, console = browse((tmp_path / "frame.html").as_uri(), tmp_path)
    assert console == ""
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.S)[1]))
    assert len(seen["images"]) == 6 and min(seen["images"]) > 500  # five figures, and the audit's
    assert seen["overflow"] == 0  # with every part open: wide tables scroll by themselves
    numbers = [float(cell.split()[0].replace("−", "-")) for cell in seen["measured"] if re.match(r"[−+]?\d", cell)]
    assert len(numbers) > 15 and numbers == sorted(numbers) and seen["sort"] == "ascending"
    assert seen["measured"][-1] == "—" == seen["reverse"][-1]  # what has no number stays last
    order = [VERDICTS.index(verdict.split(" (")[0]) for verdict in seen["verdicts"]]
    assert order == sorted(order) and len(set(order)) > 2
    assert seen["ids"][:3] == ["1a", "1b", "2a"] and seen["ids"][-1] == "x3"
    verdict, left, status = seen["filter"]
    assert left == [verdict] and re.fullmatch(r"\d+ of 24 claims shown\.", status)
    assert seen["focus"] == "claim" and seen["title"].startswith("HDPO under test")
