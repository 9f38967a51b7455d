"""Raising `train.steps`: the longer run goes on from the shorter one and ends as if it had been asked for at once."""

import pytest

from hdpo.run.longer import shorter_run
from hdpo.run.outcomes import read_outcomes
from hdpo.run.samples_file import read_samples
from hdpo.run.train import train_run
from hdpo.system.errors import UserError
from hdpo.system.files import lock
from helpers.runs import assert_same, damage, record, results, train_until_killed


@pytest.fixture
def whole(make_run):
    """The uninterrupted run of seven steps, trained under another name."""
    run = make_run(train__steps=7, name="whole", samples=2)
    train_run(run)
    return run


@pytest.fixture
def longer(make_run):
    """A finished run of four steps, and the same run with seven."""
    train_run(make_run(train__steps=4, samples=2))
    return make_run(train__steps=7, samples=2)


def test_a_raised_step_count_ends_in_the_same_bytes(whole, longer, capsys):
    train_run(longer)
    assert "resuming after step 4 of 4, now 7" in capsys.readouterr().out
    assert_same(results(longer), results(whole))
    samples = [run.folder / "samples.parquet" for run in (longer, whole)]
    assert samples[0].read_bytes() == samples[1].read_bytes() and len(read_samples(samples[0])) > 30
    told = record(longer)
    assert (told["resumed_after_step"], told["earlier_steps"]) == (4, [4])
    assert told["config"]["train"]["steps"] == 7 and told["run_hash"] == longer.hash
    assert record(whole)["earlier_steps"] == []


def test_evaluations_stay_where_they_belong(make_run):
    """A run of three steps is evaluated after the third, which is no evaluation of the run of seven."""
    train_run(make_run(train__steps=3))
    longer = make_run(train__steps=7)
    train_run(longer)
    rows = read_outcomes(longer.folder / "evals.parquet")
    assert sorted({row["step"] for row in rows}) == [2, 4, 6, 7]
    assert len({(row["step"], row["split"], row["problem"]) for row in rows}) == len(rows)


def test_the_record_says_so_after_a_kill_and_a_second_raise(make_run, longer, monkeypatch):
    train_until_killed(longer, monkeypatch, 6)
    train_run(longer)
    assert (record(longer)["resumed_after_step"], record(longer)["earlier_steps"]) == (6, [4])
    longest = make_run(train__steps=8, samples=2)
    train_run(longest)
    assert (record(longest)["resumed_after_step"], record(longest)["earlier_steps"]) == (7, [4, 7])


@pytest.mark.parametrize(
    "change", [{"evaluate__every": 3}, {"train__rollouts_per_prompt": 9}, {"model__max_length": 65}]
)
def test_another_difference_is_another_run(make_run, longer, change):
    assert shorter_run(longer).study.train.steps == 4
    assert shorter_run(make_run(train__steps=7, samples=2, **change)) is None


def test_lowering_the_step_count_starts_anew(make_run, longer):
    assert shorter_run(make_run(train__steps=3)) is None


def test_the_checkpoint_that_is_furthest_counts(make_run, longer):
    """A run of six steps that stopped after one does not hide the four steps that are done."""
    (make_run(train__steps=6).state_folder / "step-000001").mkdir(parents=True)
    assert shorter_run(longer).study.train.steps == 4
    (make_run(train__steps=6).state_folder / "step-000005").mkdir()
    assert shorter_run(longer).study.train.steps == 6


def test_a_shorter_run_in_training_is_left_alone(make_run, longer):
    shorter = shorter_run(longer)
    held = lock(shorter.state_folder / ".lock", "another")
    try:
        with pytest.raises(UserError, match="is working on it"):
            train_run(longer)
    finally:
        held.release()


def test_a_damaged_shorter_run_is_named(longer):
    for folder in shorter_run(longer).state_folder.glob("step-*"):
        damage(folder / "policy.safetensors", "altered")
    with pytest.raises(UserError, match="no usable checkpoint"):
        train_run(longer)
