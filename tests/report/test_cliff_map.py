"""The map on a made-up study: depth, differences and the bandit's prediction by hand, and files written twice alike."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.results import Results
from hdpo.report.cliff_map import write_map
from hdpo.report.cliff_map_rows import depth_of, map_rows, way_of, with_holm
from hdpo.report.cliff_map_tests import collapse_line, collapse_rows, paper_lines, prediction_line, prediction_rows
from hdpo.stats.power import holm
from hdpo.system.errors import UserError
from hdpo.theory.escape import Climb
from helpers.synthetic import make_results, make_study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("made"), 0.02, ())


def test_depth_is_the_base_models_rate_on_the_hardest_size(results):
    base = results.final[("base", 0)]
    hard = base.difficulty == 3  # the made-up study's largest
    depth, tries, subset = depth_of(results)
    assert subset == "size 3" and tries == 16 * hard.sum() and depth == pytest.approx(base.samples[hard].mean())


def test_differences_at_the_end_and_during_training(results):
    frame = map_rows(results).set_index(["run", "subset", "metric", "step"])
    scores = results.scores("test", "pass@8")
    expected = np.mean([scores["hdpo-drifting-1"][seed] - scores["grpo"][seed] for seed in (1, 2, 3)])
    assert frame.loc[("hdpo-drifting-1", "all", "pass@8", 40), "diff"] == pytest.approx(expected)
    curves = [results.training[run, 1]["validation"].outcomes.score("greedy")[1] for run in ("hdpo-frozen-1", "grpo")]
    others = [
        [results.training[run, seed]["validation"].outcomes.score("greedy")[1] for run in ("hdpo-frozen-1", "grpo")]
        for seed in (2, 3)
    ]
    by_hand = np.mean([own.mean() - base.mean() for own, base in [curves, *others]])
    assert frame.loc[("hdpo-frozen-1", "validation", "greedy", 20), "diff"] == pytest.approx(by_hand)
    assert set(frame.index.get_level_values("subset")) == {"all", "size 3", "validation"}


def test_the_prediction_is_the_bandits_escape_time(results):
    results.reader.metrics("grpo", 1)
    row = prediction_rows(results).set_index("run").loc["hdpo-frozen-0.1"]
    climb = Climb(int(row["tokens"]), 0.1, teacher_success=row["teacher"])
    assert row["hdpo_steps"] == pytest.approx(climb.time(row["start"])) and row["faster"] > 1
    line = prediction_line(map_rows(results), prediction_rows(results))
    assert "over 6 cells" in line


def test_cells_are_corrected_as_one_family_on_all_problems_and_one_on_the_hardest_size(results):
    frame = with_holm(map_rows(results))
    for subset in ("all", "size 3"):
        cells = frame[frame["subset"] == subset]
        assert len(cells) == 12 and cells["p_holm"].tolist() == pytest.approx(holm(cells["p"].to_numpy()).tolist())
    assert frame.loc[frame["subset"] == "validation", "p_holm"].isna().all()


def test_the_collapse_by_hand(results):
    """Gains at (λ, s) and (3λ, s/3): the made-up curves are replaced by gains that follow λ × steps, or do not."""
    names = {"hdpo-drifting-0.1": 0.1, "hdpo-drifting-0.3": 0.3, "grpo": 0.0}
    steps, problems = np.array([20, 40, 60, 120]), 50

    def study_of(gain):
        curves = {}
        for name, weight in names.items():
            for seed in (1, 2, 3):
                score = np.stack([np.full(problems, gain(weight, step)) + 1e-3 * seed for step in steps])
                outcomes = SimpleNamespace(score=lambda metric, score=score: score)
                curves[name, seed] = {"validation": SimpleNamespace(steps=steps, outcomes=outcomes)}
        return SimpleNamespace(runs=list(names), training=curves, study=results.study, final=results.final)

    (row,) = collapse_rows(study_of(lambda weight, step: 0.001 * weight * step)).to_dict("records")
    assert row["pairs"] == 2 and row["seeds"] == 3 and row["diff"] == pytest.approx(0, abs=1e-12)
    (row,) = collapse_rows(study_of(lambda weight, step: weight)).to_dict("records")
    assert row["diff"] == pytest.approx(0.1 - 0.3)
    frame = pd.DataFrame({"low90": [-0.01, 0.03, -0.01], "high90": [0.01, 0.05, 0.05]})
    assert "equal within 2 points in 1 of 3 base models, and differ by more in 1" in collapse_line(frame)
    assert "cannot be seen" in collapse_line(collapse_rows(results))


def test_where_the_papers_differences_lie():
    """At λ = 0.1 it reports 1.4 points of pass@8 and −2.0 of greedy accuracy, with errors of 1.2 and 1.5."""
    cells = [(0.0, "pass@8", 0.19), (0.02, "pass@8", 0.03), (0.0, "greedy", 0.08), (0.02, "greedy", 0.012)]
    frame = pd.DataFrame(cells, columns=["depth", "metric", "diff"]).assign(run="hdpo-drifting-0.1", subset="all")
    (line,) = paper_lines(frame.assign(low=frame["diff"] - 0.001, high=frame["diff"] + 0.001))
    assert "reports +1.4 points of pass@8 and −2.0 points of greedy" in line
    assert "in pass@8 at depths of 2 % and in greedy" in line and line.endswith("at no depth.")
    (wider,) = paper_lines(frame.assign(low=frame["diff"] - 0.05, high=frame["diff"] + 0.05))
    assert wider.endswith("at depths of 2 %.")
    assert paper_lines(frame.assign(run="hdpo-drifting-10")) == []


def test_the_way_to_the_depth(results, tmp_path):
    assert way_of(results.study) == "seldom seen"
    pretrain = results.study.pretrain.model_copy(update={"astray": (3,)})
    assert way_of(results.study.model_copy(update={"pretrain": pretrain})) == "seen with other solutions"


def test_everything_is_written_twice_alike(results):
    out = write_map([results.study]).parent
    before = {path: path.read_bytes() for path in sorted(out.iterdir())}
    write_map([results.study])
    assert {path: path.read_bytes() for path in sorted(out.iterdir())} == before and len(before) == 9


def test_without_a_base_model_there_is_no_depth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="its base model is not evaluated"):
        map_rows(Results(make_study(tmp_path)))
