"""The page's script climb.js computes what `hdpo.theory` does: run by Chromium or else by Node, and compared."""

import html
import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdpo.report.captions import TEMPLATES
from hdpo.theory import cliff, escape
from helpers.pages import BROWSER, browse

NODE = shutil.which("node")


def evaluate(expression: str, tmp_path: Path) -> Any:
    """A JavaScript expression's value with climb.js before it, by way of JSON."""
    script = (TEMPLATES / "climb.js").read_text(encoding="utf-8")
    if BROWSER:
        shown = f'document.getElementById("seen").textContent = JSON.stringify({expression});'
        (tmp_path / "run.html").write_text(
            f'<!DOCTYPE html><meta charset="utf-8"><pre id="seen"></pre><script>{script}\n{shown}</script>', "utf-8"
        )
        document, console = browse((tmp_path / "run.html").as_uri(), tmp_path)
        assert console == ""
        return json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', document, re.S)[1]))
    if NODE:
        script += f"\nprocess.stdout.write(JSON.stringify({expression}));"
        return json.loads(subprocess.run([NODE, "-e", script], capture_output=True, check=True).stdout)
    pytest.skip("neither Chromium nor Node runs the page's script here")


CLIMBS = [  # T, λ, G, start
    (1, 0.0, 16, 1e-2),
    (1, 0.1, 16, 1e-4),
    (4, 3.0, 4, 1e-9),
    (8, 0.0, 16, 1e-6),
    (8, 0.1, 16, 1e-6),
    (8, 0.01, 64, 0.05),
    (32, 1.0, 8, 1e-3),
    (32, 0.0, 64, 1e-3),
]


def test_the_script_computes_what_the_theory_does(tmp_path):
    climbs = [escape.Climb(tokens, weight, group_size=group) for tokens, weight, group, _ in CLIMBS]
    starts = [start for *_, start in CLIMBS]
    cases = [[vars(climb), start] for climb, start in zip(climbs, starts, strict=True)]
    expression = f"""{json.dumps(cases)}.map(([climb, start]) => {{
      const {{ tokens, group_size: group, teacher_success, teacher_rollouts }} = climb;
      const right = start ** (1 / tokens);
      return {{
        time: climbTime(climb, start),
        path: climbPath(climb, start, 0.5)[200],
        drift: grpoDrift(right, tokens, group),
        pull: climb.weight * jsdPull(right, teacher_success ** (1 / tokens)),
        fails: cliffProbability(start, group),
        waits: [expectedWait([group, start]), expectedWait([group, start], [teacher_rollouts, teacher_success])],
        advantages: [1, 2, group - 1].map((correct) => advantages(correct, group)),
      }};
    }})"""
    for climb, start, seen in zip(climbs, starts, evaluate(expression, tmp_path), strict=True):
        right, group = start ** (1 / climb.tokens), climb.group_size
        assert seen["time"] == pytest.approx(climb.time(start), rel=2e-6)
        steps, success = seen["path"]
        assert start < success < 0.5 and steps == pytest.approx(climb.time(start, success), rel=2e-6)
        assert seen["drift"] == pytest.approx(escape.grpo_drift(right, climb.tokens, group), rel=1e-9)
        assert seen["pull"] == pytest.approx(float(climb.pull(right)), rel=1e-12)
        assert seen["fails"] == pytest.approx(cliff.cliff_probability(start, group), rel=1e-12)
        teacher = (climb.teacher_rollouts, climb.teacher_success)
        waits = [cliff.expected_wait((group, start)), cliff.expected_wait((group, start), teacher)]
        assert seen["waits"] == pytest.approx(waits, rel=1e-12)
        for correct, shown in zip((1, 2, group - 1), seen["advantages"], strict=True):
            wanted = cliff.leave_one_out_advantages(np.arange(group)[None] < correct)[0, [0, -1]]
            assert shown == pytest.approx(wanted, rel=1e-9)


def test_grpo_never_leaves_a_cliff_without_a_chance_and_waits_longer_at_a_deeper_one(tmp_path):
    climb = json.dumps(vars(escape.Climb(tokens=8, weight=0.0)))
    seen = evaluate(
        f"""(() => {{
      const [grpo, depths, weights] = [{climb}, [1, 2, 3, 4.5, 6, 9], [0, 0.001, 0.01, 0.1, 1, 3]];
      return {{
        never: [climbTime(grpo, 0) === Infinity, expectedWait([16, 0]) === Infinity, cliffProbability(0, 16) === 1],
        still: [grpoDrift(0, 8, 16), meanStep(grpo, 0), meanStep({{ ...grpo, weight: 1 }}, 0)],
        deeper: depths.map((depth) => climbTime(grpo, 10 ** -depth)),
        heavier: weights.map((weight) => climbTime({{ ...grpo, weight }}, 1e-6)),
        larger: [4, 8, 16, 32, 64].map((group) => expectedWait([group, 1e-6])),
      }};
    }})()""",
        tmp_path,
    )
    assert seen["never"] == [True] * 3 and seen["still"] == [0, 0, 0]
    assert all(a < b for a, b in pairwise(seen["deeper"]))
    assert all(a > b for name in ("heavier", "larger") for a, b in pairwise(seen[name]))
    assert seen["heavier"][0] == seen["deeper"][4]  # λ = 0 is GRPO
    assert seen["heavier"][0] > 1000 * seen["heavier"][3]
