"""The page to try it: its points are the published results, it asks for nothing, and it works in a browser."""

import html
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.results import Results
from hdpo.claims.sources import Published
from hdpo.report.captions import TEMPLATES
from hdpo.report.playground import playground_data, write_playground
from hdpo.study.study import load_study
from helpers.pages import BROWSER, Elements, browse, check_policy, contrast
from helpers.studies import ROOT
from helpers.synthetic import make_results, make_study

PUBLISHED = ROOT / "results/reference/finding/playground.html"
STUDIES = {"true cliffs": "small-true", "unlucky cliffs": "small"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A made-up study; one run has one seed, and one is not there."""
    missing = [("hdpo-frozen-1", 2), ("hdpo-frozen-1", 3), *(("hdpo-frozen-0.1", seed) for seed in (1, 2, 3))]
    return make_results(tmp_path_factory.mktemp("made"), 0.02, tuple(missing))


@pytest.fixture
def page(results, tmp_path) -> str:
    return write_playground({"some cliffs": results}, tmp_path / "playground.html").read_text(encoding="utf-8")


def embedded(page: str) -> dict[str, Any]:
    """The data that the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


# The measured points.


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the page is not published")
def test_published_points_are_those_of_the_published_tables(monkeypatch):
    monkeypatch.chdir(ROOT)
    regimes = embedded(PUBLISHED.read_text(encoding="utf-8"))["regimes"]
    assert [regime["name"] for regime in regimes] == list(STUDIES)
    for regime in regimes:
        study = load_study(f"config/{STUDIES[regime['name']]}.yaml")
        arms = pd.read_csv(f"results/reference/{study.name}/gains_arms.csv").set_index("run")
        points = {point["run"]: point for point in regime["points"]}
        assert set(points) == set(arms.index) - {"base"} and len(points) == len(regime["points"])
        for run, point in points.items():
            row = arms.loc[run]
            assert run == (f"hdpo-{point['teacher'].split()[0]}-{point['weight']:g}" if point["teacher"] else "grpo")
            assert (point["seeds"], regime["problems"], regime["tries"]) == (row["seeds"], row["hard"], row["tries"])
            for end in ("value", "low", "high", "df"):
                assert point[end] == (None if np.isnan(row[end]) else row[end])
        base = Published(study).outcomes("test", "base", 0)[1].to_pandas()
        tried = base[(base["split"] == "test") & (base["difficulty"] == base["difficulty"].max())]["samples"]
        counts = {"hits": int(np.concatenate(tried.to_list()).sum(dtype=int)), "tries": sum(map(len, tried))}
        assert regime["longest"] == counts and regime["success"] == max(counts["hits"], 1) / counts["tries"]


def test_points_by_hand(results):
    (regime,) = playground_data({"some cliffs": results})["regimes"]
    points = {point["run"]: point for point in regime["points"]}
    never = results.final[("base", 0)].hits == 0
    for run, seeds in (("grpo", (1, 2, 3)), ("hdpo-frozen-1", (1,))):
        share = np.mean([results.final[(run, seed)].hits[never] > 0 for seed in seeds])
        assert points[run]["value"] == pytest.approx(share, abs=1e-6) and points[run]["seeds"] == len(seeds)
    assert regime["problems"] == never.sum() and regime["planned"] == 3
    assert points["grpo"]["low"] < points["grpo"]["value"] < points["grpo"]["high"]
    assert points["hdpo-frozen-1"]["low"] is None and "hdpo-frozen-0.1" not in points
    assert [point["weight"] for point in regime["points"]] == [0, 0.01, 0.1, 1, 0.01, 1]


# The page.


def test_it_asks_for_nothing_outside_itself(page):
    for text in (page, *([PUBLISHED.read_text(encoding="utf-8")] if PUBLISHED.exists() else [])):
        elements = Elements(text)
        assert elements.open == [] and len(text.encode()) < 200_000
        assert not any({"src", "srcset", "style"} & set(attributes) for _, attributes in elements.found)
        assert not any(key.startswith("on") for _, attributes in elements.found for key in attributes)
        assert all(link["href"] == "data:," for link in elements.all("link")) and not elements.all("a")
        assert set(re.findall(r"https?://[^\s\"]+", text)) == {"http://www.w3.org/2000/svg"}  # SVG's name, no address
        assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", text)
        check_policy(text)


def test_sliders_have_labels_and_the_page_says_what_is_toy_and_what_is_measured(page):
    elements = Elements(page)
    sliders = {attributes["id"] for attributes in elements.all("input") if attributes["type"] == "range"}
    assert len(sliders) == 4 and sliders <= {label["for"] for label in elements.all("label")}
    assert page.index("toy: formulas, no training") < page.index("measured in training runs")
    assert "so far 1 to 3 of 3 planned seeds" in page


def test_names_are_text_whatever_they_hold(results, tmp_path):
    name = "</script><script>document.title='bad'</script>\"'&"
    text = write_playground({name: results}, tmp_path / "page.html").read_text(encoding="utf-8")
    elements = Elements(text)
    assert elements.open == [] and len(elements.all("script")) == 2 and embedded(text)["regimes"][0]["name"] == name


def test_colours_have_the_contrast_that_wcag_aa_asks_for():
    def colours(name: str) -> list[dict[str, str]]:
        """In the light, in the dark."""
        parts = (TEMPLATES / name).read_text(encoding="utf-8").split("@media")[:2]
        return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part)) for part in parts]

    for page, ink in zip(colours("page.css"), colours("playground.css"), strict=True):
        assert set(ink) == {"grpo", "hdpo"}
        assert all(contrast(colour, page["page"]) >= 4.5 for colour in ink.values())


def test_nothing_run_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = write_playground({"some cliffs": Results(make_study(tmp_path))}, tmp_path / "page.html")
    assert "No run is published yet." in out.read_text(encoding="utf-8")
    if BROWSER:
        document, console = browse(out.as_uri(), tmp_path)
        assert console == "" and "once in 10\N{NO-BREAK SPACE}000" in html.unescape(document)


PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const byId = (id) => document.getElementById(id);
  const seen = { overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth };
  const look = () => ["depth-says", "weight-says", "group-says", "tokens-says", "grpo-time", "hdpo-time", "message"]
    .map((id) => byId(id).textContent);
  const buttons = [...document.querySelectorAll("button")];
  const press = (words) => buttons.find((button) => button.textContent.startsWith(words)).click();
  const move = (id, value) => { byId(id).value = value; byId(id).dispatchEvent(new Event("input")); };
  seen.start = look();
  seen.words = [...document.querySelectorAll("#toy-chart text")].map((word) => word.textContent);
  seen.points = document.querySelectorAll("#measured-0 circle").length;
  seen.outside = [...document.querySelectorAll("svg text")].filter((word) => {
    const box = word.getBoundingClientRect();
    return box.left < 0 || box.right > document.documentElement.clientWidth;
  }).map((word) => word.textContent);
  move("depth", 9); move("group", 6); seen.deep = look();
  seen.waits = [...document.querySelectorAll("#toy-chart text")].map((word) => word.textContent);
  move("depth", 1.5); move("weight", -3); seen.shallow = look();
  press("the paper"); seen.paper = look();
  press("some cliffs"); seen.preset = look();
  move("tokens", 0); press("reset"); seen.reset = look();
  byId("group").focus(); byId("group").stepUp(); byId("group").dispatchEvent(new Event("input"));
  seen.keyboard = [document.activeElement.id, byId("group").getAttribute("aria-valuetext")];
  top.document.getElementById("seen").textContent = JSON.stringify(seen);
}, 50));
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_the_page_itself_gives_no_console_message(page, results, tmp_path):
    document, console = browse((tmp_path / "playground.html").as_uri(), tmp_path)
    assert console == "" and '<html lang="en" class="js">' in document and "<polyline" in document


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_it_works_in_a_browser(page, results, tmp_path, width):
    inner = re.sub(r"<meta http-equiv.*?>", "", page).replace("</body>", PROBE + "</body>")  # the policy forbids probes
    outer = f'<pre id="seen"></pre><iframe width="{width}" height="800" srcdoc="{html.escape(inner)}"></iframe>'
    (tmp_path / "frame.html").write_text(f'<!DOCTYPE html><meta charset="utf-8">{outer}', encoding="utf-8")
    document, console = browse((tmp_path / "frame.html").as_uri(), tmp_path)
    assert console == ""
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.S)[1]))
    data = embedded(page)
    assert seen["overflow"] == 0 and seen["outside"] == []
    assert seen["start"] == seen["reset"] and seen["start"][1:4] == ["0.1", "16", "8"]
    assert {"GRPO", "HDPO"} <= set(seen["words"])
    assert seen["points"] == len(data["regimes"][0]["points"]) + 2  # and the two of the key
    assert seen["deep"][:4] == ["once in 1\N{NO-BREAK SPACE}billion", "0.1", "64", "8"]
    assert seen["deep"][4].endswith("million") and "GRPO waits" in seen["waits"] and "HDPO waits" not in seen["waits"]
    assert seen["deep"][6].startswith("HDPO opens the cliff in ")
    assert seen["shallow"][6].startswith("Hardly a difference")
    assert seen["paper"][1:3] == ["0.1", "16"] and seen["paper"][0] == seen["shallow"][0]
    assert seen["preset"][0] == seen["start"][0]
    assert seen["keyboard"] == ["group", "32"]
