"""The plan: what departs from it is found in the records and in the history, and said in a sentence."""

import subprocess

import pytest
import yaml

from hdpo.claims import registration
from hdpo.claims.claims import CLAIMS
from hdpo.claims.registration import departures, plan_of, read_plan, runs_hash
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from hdpo.system.files import sha256
from helpers.studies import ROOT
from helpers.synthetic import make_study, seal


def git(folder, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder, name: str, text: str) -> str:
    (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def planned(study, tmp_path, monkeypatch):
    """A repository in which a plan was committed between two other commits: the plan, and commits before and after."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    before = commit(folder, "code", "1")
    plan = {
        "studies": {"tiny": {"regime": "toy", "runs": runs_hash(study)}},
        "claims": sha256(CLAIMS),
        "deviations": [],
    }
    commit(folder, "plan.yaml", yaml.safe_dump(plan))
    after = commit(folder, "code", "2")
    monkeypatch.setattr(registration, "PLANS", folder)
    return plan, folder, before, after


def test_a_kept_plan_has_no_departure(study, planned):
    study.run("grpo", 1).folder.mkdir(parents=True)
    seal(study, "grpo", 1, commit=planned[-1], dirty=False)
    assert departures(study) == []


def test_a_run_older_than_the_plan_is_named(study, planned):
    study.run("grpo", 1).folder.mkdir(parents=True)
    seal(study, "grpo", 1, commit=planned[2], dirty=False)
    assert departures(study) == [
        f"grpo seed 1: made by commit {planned[2][:10]}, which does not descend from the plan."
    ]


def test_unknown_commits_and_uncommitted_changes_are_named(study, planned):
    study.run("grpo", 1).folder.mkdir(parents=True)
    seal(study, "grpo", 1, commit="0" * 40, dirty=True)
    found = departures(study)
    assert "which this history does not hold" in found[0] and "uncommitted changes" in found[1] and len(found) == 2


def test_runs_of_two_processors_are_named_by_seed(study, planned):
    grpo, hdpo = study.runs[:2]
    made = {(grpo, 1): "old", (grpo, 2): "new", (grpo, 3): "new", (hdpo, 2): "new"}
    for (run, seed), cpu in made.items():
        study.run(run, seed).folder.mkdir(parents=True)
        seal(study, run, seed, commit=planned[-1], dirty=False, cpu=cpu)
    said = "Runs of 2 processors, all runs of a seed share one (old: seed 1; new: seeds 2, 3)."
    assert departures(study) == [said]
    study.run(hdpo, 1).folder.mkdir(parents=True)
    seal(study, hdpo, 1, commit=planned[-1], dirty=False, cpu="new")
    assert departures(study) == ["Runs of 2 processors, pairs of seed 1 mix them (old: seed 1; new: seeds 1 to 3)."]


def test_changed_rules_runs_and_plans_are_named(study, planned, tmp_path):
    plan, folder, *_ = planned
    assert departures(study) == []
    more = make_study(tmp_path, seeds=[1, 2])
    assert departures(more) == ["The study's runs are not the planned ones: its file or its data have changed since."]
    (folder / "plan.yaml").write_text(
        yaml.safe_dump(plan | {"claims": "other", "deviations": ["2026-12-01: a reason"]})
    )
    noted, rules, changed = departures(study)
    assert noted.endswith("a reason") and "claims.yaml is not the planned one" in rules
    assert "changed in more than its deviations" in changed


def test_a_noted_deviation_is_no_change_of_the_plan(study, planned):
    plan, folder, *_ = planned
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan | {"deviations": ["2026-12-01: a reason"]}))
    assert departures(study) == ["Noted in the plan: 2026-12-01: a reason"]


def test_a_study_outside_the_plan_departs_from_nothing(tmp_path, planned):
    assert departures(make_study(tmp_path, name="other")) == []


def test_the_shipped_plans_are_of_the_shipped_studies_and_claims():
    studies = {study.name: study for study in map(load_study, sorted((ROOT / "config").rglob("*.yaml")))}
    for path in sorted(registration.PLANS.glob("plan*.yaml")):
        plan = read_plan(path)
        assert plan.claims in (None, sha256(CLAIMS))
        for name, planned in plan.studies.items():
            assert planned.runs == runs_hash(studies[name])


def test_each_study_has_its_own_plan(study, planned, tmp_path):
    other = make_study(tmp_path, name="other")
    later = {"studies": {"other": {"regime": "toy", "runs": runs_hash(other)}}}  # no rules of claims.yaml
    commit(planned[1], "plan-later.yaml", yaml.safe_dump(later))
    assert plan_of(study)[0].name == "plan.yaml" and plan_of(other)[0].name == "plan-later.yaml"
    assert departures(other) == []


def test_a_damaged_plan_is_one_line(study, planned):
    with pytest.raises(UserError, match=r"plan\.yaml: not a plan"):
        read_plan(planned[1] / "plan.yaml", "studies: 3")
    (planned[1] / "plan-0.yaml").write_text("studies: 3")
    with pytest.raises(UserError, match=r"plan-0\.yaml: not a plan"):
        departures(study)
