"""Runs made by hand, outside the study's list: rows of their own, and never a part of planned means."""

import json

import pandas as pd
import pytest

from hdpo.claims.reader import Outcomes, extra_seeds
from hdpo.claims.results import Results
from hdpo.claims.summary import summarise, write_summary
from hdpo.render.table import read_tables
from hdpo.report.figures import write_figures
from hdpo.report.origins import origins
from hdpo.report.tables import write_tables
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from helpers.reported_study import write_record
from helpers.studies import hdpo
from helpers.synthetic import make_study, write_everything, write_final

EXTRA = "hdpo-frozen-0.3"


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    """GRPO and one HDPO run on seeds 1 to 3, all finished."""
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path, methods=["grpo", hdpo("drifting")])
    write_everything(study)
    return study


def add(study: Study, run: str, seed: int, **changes) -> Outcomes:
    """A finished run that repeats GRPO's outcomes of seed 1."""
    outcomes = Results(study).final["grpo", 1]
    write_final(study, run, seed, outcomes.greedy, outcomes.samples)
    write_record(study, run, seed, **changes)
    return outcomes


def rows(study: Study, metric: str = "greedy") -> pd.DataFrame:
    return summarise(Results(study)).query("metric == @metric and protocol == 'test'").set_index("run")


def test_an_extra_run_is_a_row_after_the_planned_ones(study):
    before = rows(study)
    outcomes = add(study, EXTRA, 1)
    after = rows(study)
    assert list(after.index) == ["base", "grpo", "hdpo-drifting-0.1", EXTRA]
    assert after.loc[EXTRA, ["status", "seeds", "seeds_planned"]].tolist() == ["extra", 1, 0]
    assert after.loc[EXTRA, "mean"] == pytest.approx(outcomes.greedy.mean()) and after.loc[EXTRA, "diff"] == 0
    pd.testing.assert_frame_equal(before, after.drop(EXTRA))


def test_it_is_in_the_tables_the_figures_and_the_list_of_runs(study):
    add(study, EXTRA, 1)
    write_summary(study)
    assert EXTRA in pd.read_csv(study.root / "summary.csv")["run"].tolist()
    write_tables(study)
    table = read_tables(study.root / "tables" / "headline.json")["headline"]
    assert table.rows[-1][:2] == ("HDPO frozen, λ = 0.3", "1 (extra)") and "outside the study's list" in table.notes[0]
    write_figures(study)
    found = origins(study)
    assert (found["complete"], found["planned"]) == (6, 6) and found["runs"][-1]["status"] == "extra"


def test_extra_seeds_of_a_planned_run_are_left_out_and_counted(study):
    before = rows(study)
    add(study, "hdpo-drifting-0.1", 7)
    add(study, "hdpo-drifting-0.1", 9)
    after = rows(study)
    assert Results(study).runs == study.runs
    assert after.loc["hdpo-drifting-0.1", "status"] == "complete (2 extra seeds left out)"
    pd.testing.assert_frame_equal(before.drop(columns="status"), after.drop(columns="status"))
    write_tables(study)
    table = read_tables(study.root / "tables" / "headline.json")["headline"]
    assert table.rows[-1][1] == "3 (2 extra seeds left out)"


def test_what_is_no_run_of_this_study_is_left_alone(study):
    add(study, EXTRA, 1, run_hash="0123456789ab")  # another configuration
    for folder in ("nonsense/seed1", f"{EXTRA}/seedx", f"{EXTRA}/seed02"):
        path = study.root / "runs" / folder / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"run_hash": study.run(EXTRA, 2).hash}))
    (study.run(EXTRA, 3).folder).mkdir(parents=True)  # not finished
    assert extra_seeds(study) == {}


def test_a_damaged_extra_run_is_one_line(study):
    add(study, EXTRA, 1)
    (study.root / "eval" / EXTRA / "seed1.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"hdpo-frozen-0\.3/seed1\.parquet: missing, truncated or altered"):
        Results(study)
    (study.run(EXTRA, 1).folder / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        Results(study)
