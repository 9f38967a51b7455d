"""Figures and styles for any list of arms: no HDPO at all, one arm, twelve arms of six methods."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from hdpo.render.runs import run_label
from hdpo.render.style import PALETTE
from hdpo.report.figures import cliffs, learning_curves, pass_at_k, tradeoff
from hdpo.report.run_style import color, families, look, panels, short_labels

HDPO = ["grpo", *(f"hdpo-{teacher}-{weight}" for teacher in ("drifting", "frozen") for weight in ("0.01", "0.1", "1"))]
SIX_METHODS = [
    *("grpo", "grpo+clip=0.1", "grpo+clip=0.3", "hdpo-drifting-0.01", "hdpo-drifting-0.1", "hdpo-frozen-0.1"),
    *("grpo-kl-0.01", "grpo-kl-0.1", "toy-1", "toy-3", "sft", "replay-4+warm=yes"),
]


def draw_all(runs: list[str]) -> list:
    """Every figure of the study from made-up frames; nothing is compared with GRPO where GRPO is missing."""
    learning, training, final, points = [], [], [], []
    for place, run in enumerate(runs):
        for seed, step in np.ndindex(2, 6):
            key = {"run": run, "seed": seed, "step": step}
            learning.append(key | {"metric": "greedy", "value": 0.1 * step + 0.01 * place})
            learning.append(key | {"metric": "pass@8", "value": 0.1 * step - 0.02 * place})
            training.append(key | {"cliff_fraction": 0.2, "privileged_pass_rate": 0.5 if place % 2 else np.nan})
        for k in (1, 2):
            final.append({"run": run, "k": k, "value": 0.5, "diff": 0.01, "low": -0.01, "high": 0.03})
        ends = {f"{axis}{end}": 0.01 * place for axis in "xy" for end in ("", "_low", "_high")}
        points.append({"source": "this study", "run": run} | ends)
    points = [point for point in points if point["run"] != "grpo"]
    columns = ["source", "run", *(f"{axis}{end}" for axis in "xy" for end in ("", "_low", "_high"))]
    figures = [
        learning_curves(pd.DataFrame(learning), runs),
        cliffs(pd.DataFrame(training), runs),
        pass_at_k(pd.DataFrame(final), runs),
        tradeoff(pd.DataFrame(points, columns=columns), runs),
    ]
    for figure in figures:
        figure.canvas.draw()
        plt.close(figure)
    return figures


def words(figure) -> set[str]:
    return {text.get_text().strip() for text in figure.findobj(Text)}


@pytest.mark.parametrize("runs", [["grpo"], ["grpo", "toy-3"], ["toy-3", "sft"], HDPO, SIX_METHODS], ids=len)
def test_every_figure_draws_and_names_every_run(runs):
    *curves, forest = draw_all(runs)
    for figure in curves:
        for title, members in panels(runs).items():
            assert {title, *short_labels(members).values()} <= {word.replace(",\n", ", ") for word in words(figure)}
    assert {run_label(run) for run in runs if run != "grpo"} <= words(forest)


@pytest.mark.parametrize("runs", [HDPO, SIX_METHODS], ids=len)
def test_names_beside_lines_never_overlap(runs):
    for figure in draw_all(runs):
        figure.draw_without_rendering()
        for axis in figure.axes:
            boxes = [text.get_window_extent() for text in axis.texts]
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_a_title_follows_the_data():
    rows = [{"run": run, "k": k, "value": 0.5} for run in ("grpo", "toy-3", "toy-4") for k in (1, 8)]
    frame = pd.DataFrame(rows).assign(diff=0.0, low=0.0, high=0.0)
    for change, text in ((0.04, "+4.0"), (-0.06, "−6.0")):
        frame.loc[(frame["run"] == "toy-4") & (frame["k"] == 8), "value"] = 0.5 + change
        title = pass_at_k(frame, ["grpo", "toy-3", "toy-4"]).get_suptitle().replace("\N{NO-BREAK SPACE}", " ")
        assert title == f"toy, 4 against GRPO, in points: 0.0 in pass@1, {text} in pass@8"
    plt.close("all")


def test_known_runs_keep_their_look():
    assert to_hex(color("grpo", SIX_METHODS)) == PALETTE["black"].lower()
    assert [look(run, HDPO)["ls"] for run in ("grpo", HDPO[1])] == ["-", "-"] and look(HDPO[4], HDPO)["ls"] != "-"
    assert to_hex(color("hdpo-drifting-0.1", HDPO)) == PALETTE["blue"].lower()  # the middle of three λ
    assert to_hex(color("hdpo-frozen-0.1", HDPO)) == PALETTE["vermilion"].lower()
    assert [look(run, HDPO)["lw"] for run in HDPO[2:5]] == [1.2, 2.0, 1.2]  # the highest λ stands out
    assert list(panels(HDPO)) == ["drifting teacher", "frozen teacher"]
    assert panels(HDPO)["frozen teacher"] == HDPO[4:]


def test_no_two_runs_look_the_same():
    looks = {(to_hex(color(run, SIX_METHODS)), str(look(run, SIX_METHODS)["ls"])) for run in SIX_METHODS}
    assert len(looks) == len(SIX_METHODS)


def test_many_families_share_three_panels_and_each_run_has_one():
    assert len(families(SIX_METHODS)) == 7
    shown = list(panels(SIX_METHODS).values())
    assert len(shown) == 3 and sorted(run for members in shown for run in members) == sorted(SIX_METHODS[1:])
    assert panels(["grpo"]) == {"GRPO": ["grpo"]}
