"""`hdpo status`: each run in its state, and the time that remains from those that are done."""

import json

from hdpo.run.status import job_of, print_status, remaining
from hdpo.study.study import load_study
from hdpo.system.files import lock, write_record
from helpers.runs import damage, train_until_killed


def rewrite(run, **changes) -> None:
    record = json.loads((run.folder / "run.json").read_text()) | changes
    files = [run.folder / name for name in record.pop("files")]
    record.pop("sha256")
    write_record(run.folder / "run.json", record, files)


def test_each_state_is_told(finished, monkeypatch, capsys):
    """`finished` is done; grpo is left, stopped, running and done in turn."""
    study = finished.study
    rewrite(finished, seconds=50.0)
    grpo, drifting = study.run("grpo", 1), study.run("hdpo-drifting-0.1", 1)
    assert job_of(drifting).state == "left" and job_of(finished).state == "done"
    train_until_killed(drifting, monkeypatch, 3)
    capsys.readouterr()
    print_status(study)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "failed   hdpo-drifting-0.1 seed 1: step 3 of 5; stopped",
        "study smoke: 3 runs: 2 done, 0 running, 1 failed, 0 left",
        said[-1],
    ]
    assert job_of(grpo).state == "done"
    held = lock(drifting.state_folder / ".lock", "a test")
    print_status(study)
    held.release()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "running  hdpo-drifting-0.1 seed 1: step 3 of 5"
    assert said[1] == "study smoke: 3 runs: 2 done, 1 running, 0 failed, 0 left"


def test_time_is_counted_from_finished_runs_of_the_same_arm(finished):
    study = finished.study
    rewrite(finished, seconds=25.0, resumed_after_step=0)
    rewrite(study.run("grpo", 1), seconds=6.0, resumed_after_step=2)  # 2 s a step, as two of its five were resumed
    seeds = [job_of(study.run(name, seed)) for name in study.runs for seed in (1, 2)]
    assert [job.state for job in seeds] == ["done", "left", "left", "left", "done", "left"]
    # 5 steps of grpo at 2 s, 5 of the frozen teacher at 5 s, 10 of the drifting one at the mean of both arms
    assert remaining(seeds) == f"time that remains for training: {5 * 2 + 5 * 5 + 10 * 3.5:g} s"
    assert remaining([job for job in seeds if job.state == "done"]) == "nothing is left to train"
    assert remaining([job for job in seeds if job.state == "left"]).endswith("unknown until a run is done")


def test_a_failure_is_told_in_its_own_words(finished):
    run = finished.study.run("hdpo-drifting-0.1", 1)
    run.state_folder.mkdir(parents=True)
    log = finished.study.root / "logs" / f"train-{run.name}-seed1.log"
    log.parent.mkdir()
    log.write_text("run x 1/5\nhdpo: disk \x1b[2J full\nmore\n")
    job = job_of(run)
    assert (job.state, job.step, job.note) == ("failed", 0, "disk [2J full")


def test_results_of_another_configuration_or_damaged_ones_are_not_done(finished):
    other = load_study("study.yaml").model_copy(update={"seeds": (1,)})
    longer = other.model_copy(update={"train": other.train.model_copy(update={"steps": 9})})
    job = job_of(longer.run(finished.name, 1))
    assert job.state == "left" and job.note == "the results there are of another configuration"
    damage(finished.folder / "run.json", "truncated")
    assert job_of(finished).state == "failed" and "run.json: damaged" in job_of(finished).note


def test_asking_leaves_the_lock_as_it_is(finished):
    path = finished.state_folder / ".lock"
    held = lock(path, "a test")
    before = path.read_bytes()
    (finished.folder / "run.json").unlink()
    assert job_of(finished).state == "running" and path.read_bytes() == before
    held.release()
    assert job_of(finished).state == "failed"
