"""Trackers, offline and for real: what arrives, what a resumed run does, and that none of them stops training."""

import importlib.util
import json
import sqlite3
import subprocess
import sys
import time

import pytest

from hdpo.run.tracker_kinds import KINDS, Tracker
from hdpo.run.trackers import Trackers, means, numbers, page, require_trackers
from hdpo.run.train import train_run
from hdpo.study.study import Run
from hdpo.system.errors import UserError
from helpers.runs import assert_same, record, results, steps, train_until_killed
from helpers.studies import write_study
from helpers.wandb_file import wandb_records


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


class Recorder(Tracker):
    """Writes down what it is told."""

    told: list

    def __init__(self, run: Run, page: str, done: int) -> None:
        self.told.append(("start", page, done))

    def metrics(self, step, values):
        self.told.append(("metrics", step, values))

    def samples(self, step, rows):
        self.told.append(("samples", step, rows))

    def close(self):
        self.told.append(("close",))


@pytest.fixture
def told(monkeypatch):
    """What a tracker that stands in for TensorBoard is told."""
    monkeypatch.setattr(Recorder, "told", [], raising=False)
    monkeypatch.setitem(KINDS, "tensorboard", Recorder)
    monkeypatch.setattr("hdpo.run.trackers.find_spec", lambda name: name)
    return Recorder.told


def test_all_arrives_once_in_order(make_run, told):
    run = make_run(trackers=["tensorboard"], samples=2)
    train_run(run)
    assert told[0] == ("start", page(run), 0) and told[-1] == ("close",)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    each = [(step, values) for kind, step, values in told[1:-1] if kind == "metrics" and "reward" in values]
    assert each == [(line["step"], numbers(line)) for line in lines]
    assert each[0][1]["tokens/rollout"] == lines[0]["tokens"]["rollout"]
    evaluations = {step: values for kind, step, values in told[1:-1] if "evaluate/validation/pass@4" in values}
    assert evaluations.keys() == {2, 4, 5}
    assert [step for kind, step, _ in told[1:-1] if kind == "samples"] == [0, 2, 4]


def test_a_resumed_run_continues_the_same_page(make_run, told, monkeypatch):
    run = make_run(trackers=["tensorboard"])
    train_until_killed(run, monkeypatch, 3)
    train_run(run)
    assert [entry for entry in told if entry[0] == "start"] == [("start", page(run), 0), ("start", page(run), 2)]
    longer = make_run(trackers=["tensorboard"], train__steps=6)
    assert page(longer) == page(run) != page(make_run(train__rollouts_per_prompt=9))


class Failing(Recorder):
    def metrics(self, step, values):
        raise ConnectionError("no route \x1b to host")


class Hanging(Recorder):
    def metrics(self, step, values):
        time.sleep(60)


def test_a_tracker_that_fails_is_named_once_and_training_is_the_same(make_run, told, monkeypatch, capsys):
    plain = make_run(name="plain")
    train_run(plain)
    capsys.readouterr()
    monkeypatch.setitem(KINDS, "tensorboard", Failing)
    run = make_run(trackers=["tensorboard"])
    train_run(run)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hdpo:")]
    assert said == ["hdpo: trackers: tensorboard: no route to host; training goes on without it"]
    assert_same(results(run), results(plain))
    assert run.hash == plain.hash


def test_a_tracker_that_hangs_holds_up_the_end_for_a_while_only(make_run, told, monkeypatch, capsys):
    monkeypatch.setitem(KINDS, "tensorboard", Hanging)
    monkeypatch.setattr("hdpo.run.trackers.PATIENCE", 0.3)
    run = make_run(trackers=["tensorboard"])
    before = time.monotonic()
    trackers = Trackers(run, 0, run.study.trackers)
    for step in range(100):
        trackers.metrics(step, {"reward": 1.0})
    assert time.monotonic() - before < 5
    trackers.close()
    assert 0.3 <= time.monotonic() - before < 5
    assert "tensorboard: no answer in 0 s; not all has arrived there" in capsys.readouterr().err


def test_a_missing_package_is_one_line_before_anything_is_loaded(tmp_path, monkeypatch):
    study = write_study(tmp_path, trackers=["trackio"])
    code = (
        "import sys, hdpo.run.trackers as t; t.find_spec = lambda name: None; from hdpo.cli import main;"
        f"sys.exit(main(['train', {str(study)!r}, '--run', 'grpo', '--seed', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    line = 'hdpo: trackers: trackio is not installed; pip install "hdpo[trackio]", or leave it out\n'
    assert done.stderr == line and [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    ("trackers", "expected"),
    [(["wandb", "wandb"], "trackers: give each once"), (["mlflow"], "trackers"), ("wandb", "trackers")],
)
def test_a_wrong_list_is_refused(make_study, trackers, expected):
    with pytest.raises(UserError, match=expected):
        make_study(trackers=trackers)


def test_without_trackers_there_is_no_thread(make_study):
    study = make_study()
    require_trackers(study)
    trackers = Trackers(study.run("grpo", 1), 0, ())
    trackers.metrics(0, {"reward": 1.0})
    trackers.close()
    assert trackers.thread is None and trackers.jobs.empty()


def test_means_are_those_of_the_outcomes():
    rows = [
        {"split": "development", "greedy": 1, "samples": [1, 1, 0, 0]},
        {"split": "development", "greedy": 0, "samples": [0, 0, 0, 0]},
        {"split": "validation", "greedy": 1, "samples": [1, 1, 1, 1]},
    ]
    assert means(rows, (1, 4)) == {
        "evaluate/development/greedy": 0.5,
        "evaluate/development/pass@1": 0.25,
        "evaluate/development/pass@4": 0.5,
        "evaluate/validation/greedy": 1.0,
        "evaluate/validation/pass@1": 1.0,
        "evaluate/validation/pass@4": 1.0,
    }


def interrupted(make_run, monkeypatch, tracker: str) -> Run:
    """A run that was killed once, with one tracker."""
    run = make_run("hdpo-frozen-0.1", trackers=[tracker], samples=2)
    train_until_killed(run, monkeypatch, 3)
    train_run(run)
    assert record(run)["resumed_after_step"] == 2
    return run


def rewards(run: Run) -> dict[int, float]:
    return {line["step"]: line["reward"] for line in steps(run)}


@needs("tensorboard")
def test_tensorboards_files_read_back(make_run, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = interrupted(make_run, monkeypatch, "tensorboard")
    found = EventAccumulator(str(run.study.root / "trackers/tensorboard" / page(run))).Reload()
    shown = [(event.step, event.value) for event in found.Scalars("reward")]
    assert [step for step, _ in shown] == [0, 1, 2, 3, 4]  # none twice
    assert dict(shown) == pytest.approx(rewards(run))
    assert [event.step for event in found.Scalars("evaluate/validation/greedy")] == [2, 4, 5]
    texts = found.Tags()["tensors"]
    assert "configuration/text_summary" in texts
    (sample,) = {name for name in texts if name == "samples/cliff/text_summary"}
    text = found.Tensors(sample)[0].tensor_proto.string_val[0].decode()
    assert all(line.startswith("    ") for line in text.splitlines()) and "prompt:" in text


@needs("wandb")
def test_wandb_offline_holds_all(make_run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    from wandb.proto import wandb_internal_pb2

    run = interrupted(make_run, monkeypatch, "wandb")
    found: dict[str, dict[int, float]] = {}
    names, config = set(), set()
    for path in sorted((run.study.root / "trackers/wandb").glob("offline-run-*/*.wandb")):
        for data in wandb_records(path):
            entry = wandb_internal_pb2.Record()
            entry.ParseFromString(data)
            items = {item.key or ".".join(item.nested_key): item.value_json for item in entry.history.item}
            for key, value in items.items():
                found.setdefault(key, {})[int(items["_step"])] = json.loads(value)
            if entry.run.run_id:
                names.add(entry.run.run_id)
                config |= {update.key for update in entry.run.config.update}
    assert names == {page(run)} and {"task", "train", "method", "seed"} <= config
    assert found["reward"] == pytest.approx(rewards(run))
    assert found["evaluate/validation/greedy"].keys() == {2, 4, 5}
    assert any(key.startswith("samples") for key in found)


@needs("trackio")
def test_trackios_local_store_holds_all(make_run, monkeypatch, tmp_path):
    import trackio

    folder = tmp_path / "trackio"
    folder.mkdir()
    for name, module in list(sys.modules.items()):  # the folder is a constant of several modules
        if name.startswith(trackio.__name__) and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", folder)
    run = interrupted(make_run, monkeypatch, "trackio")
    (path,) = folder.glob("*.db")
    with sqlite3.connect(path) as database:
        rows = database.execute("select run_id, run_name, step, metrics from metrics").fetchall()
        (config,) = {text for (text,) in database.execute("select config from configs")}
    values = [(step, json.loads(text)) for _, _, step, text in rows]
    assert {name for _, name, *_ in rows} == {page(run)} and len({number for number, *_ in rows}) == 1
    assert json.loads(config)["method"]["method"] == "hdpo"
    assert {step: found["reward"] for step, found in values if "reward" in found} == pytest.approx(rewards(run))
    assert {step for step, found in values if "evaluate/validation/greedy" in found} == {2, 4, 5}
    assert any("samples" in found for _, found in values)
