"""Controls and ablations on a made-up study: contrasts by hand, every verdict, and what is missing or not planned."""

import numpy as np
import pandas as pd
import pytest
import yaml

from hdpo.claims import registration
from hdpo.claims.registration import read_plan, runs_hash
from hdpo.claims.results import Results
from hdpo.report.comparison import write_comparison
from hdpo.report.controls import control_frame, verdict_of, write_controls
from hdpo.stats.power import holm
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.studies import ROOT
from helpers.synthetic import make_study, write_everything

BIG, SMALL = "hdpo-drifting-1", "hdpo-drifting-0.1"
QUESTIONS = [("Is it large?", BIG, "grpo"), ("Is it alike?", "hdpo-frozen-0.01", "hdpo-drifting-0.01")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("controls")


@pytest.fixture
def study(folder, monkeypatch):
    """A planned study with a planted effect, and a plan that asks three questions of it."""
    monkeypatch.chdir(folder)
    made = make_study(folder, name="tiny-toy")
    if not made.root.exists():
        write_everything(made, 0.06, ((SMALL, 1), (SMALL, 2), (SMALL, 3)))
    questions = [
        {"kind": "control", "ask": ask, "what": f"{run} against {against}", "run": run, "against": against}
        for ask, run, against in [*QUESTIONS, ("Is it there?", SMALL, "grpo"), ("Is it planned?", "sft-1", "grpo")]
    ]
    plan = {
        "studies": {made.name: {"regime": "toy", "runs": runs_hash(made), "margin": 50}},
        "questions": [question | {"study": "tiny"} for question in questions],
    }
    (folder / "plan-toy.yaml").write_text(yaml.safe_dump(plan))
    monkeypatch.setattr(registration, "PLANS", folder)
    return made


def test_contrasts_are_paired_and_corrected_as_one_family(study, folder):
    results = Results(study)
    frame = control_frame([results], read_plan(folder / "plan-toy.yaml")).set_index(["run", "metric"])
    for _, run, against in QUESTIONS:
        scores = results.scores("test", "pass@8")
        by_hand = np.mean([scores[run][seed].mean() - scores[against][seed].mean() for seed in study.seeds])
        assert frame.loc[(run, "pass@8"), "diff"] == pytest.approx(by_hand)
    assert frame["p_holm"].tolist() == pytest.approx(holm(frame["p"].to_numpy()).tolist(), nan_ok=True)
    assert "sft-1" not in frame.index  # the study does not plan it


def test_verdicts_of_the_made_up_study(study, folder):
    frame = control_frame([Results(study)], read_plan(folder / "plan-toy.yaml")).set_index(["run", "metric"])
    assert frame.loc[(BIG, "pass@8"), "verdict"] == "better" and frame.loc[(BIG, "pass@8"), "diff"] > 0
    assert frame.loc[(SMALL, "greedy"), ["verdict", "seeds"]].tolist() == ["not run", 0]


def test_methods_side_by_side_answer_the_contrasts_of_their_plan(study, tmp_path):
    text = write_comparison([study], tmp_path).read_text(encoding="utf-8")
    assert "## Planned contrasts" in text and "Is it large?" in text
    assert pd.read_csv(tmp_path / "contrasts.csv")["run"].tolist() == [BIG] * 2 + ["hdpo-frozen-0.01"] * 2 + [SMALL] * 2


@pytest.mark.parametrize(
    ("p", "diff", "ends", "expected"),
    [
        (0.05, 0.01, (0.001, 0.019), "better"),
        (0.01, -0.01, (-0.019, -0.001), "worse"),
        (0.06, 0.01, (0.001, 0.019), "same within 2"),
        (0.06, 0.01, (0.0, 0.02), "not settled"),  # the interval touches the margin
        (1.0, 0.0, (-0.021, 0.021), "not settled"),
        (np.nan, np.nan, (np.nan, np.nan), "not run"),
        (np.nan, 0.01, (np.nan, np.nan), "not settled"),  # one seed
    ],
)
def test_verdicts_follow_the_rule(p, diff, ends, expected):
    row = {"p_holm": p, "diff": diff, "low90": ends[0], "high90": ends[1], "margin": 2.0}
    assert verdict_of(row) == expected


def test_everything_is_written_twice_alike(study):
    out = write_controls([study]).parent
    before = {path: path.read_bytes() for path in sorted(out.iterdir())}
    assert {path.name for path in before} == {f"controls.{kind}" for kind in ("csv", "json", "md", "pdf", "png")}
    write_controls([study])
    assert {path: path.read_bytes() for path in sorted(out.iterdir())} == before
    assert len(pd.read_csv(out / "controls.csv")) == 2 * 3
    assert "Is it alike?" in (out / "controls.md").read_text(encoding="utf-8")


def test_a_study_without_questions_is_refused(study, folder, tmp_path):
    with pytest.raises(UserError, match="one plan with questions must name them all"):
        write_controls([study, make_study(tmp_path, name="other")])


def test_the_kits_questions_name_runs_of_its_studies():
    plan = read_plan(ROOT / "hdpo/paper/plan-controls-2.yaml")
    studies = [load_study(path) for path in sorted((ROOT / "config/controls").glob("*.yaml"))]
    assert {study.name for study in studies} == set(plan.studies)
    for question in plan.questions:
        asked = [study for study in studies if study.name.rpartition("-")[0] == question.study]
        assert any({question.run, question.against} <= set(study.runs) for study in asked), question
