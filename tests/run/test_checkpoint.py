"""Checkpoints and results that were damaged or belong to another run: named, and never used."""

import pytest

from hdpo.learning.trainer import Trainer
from hdpo.run.checkpoint import load_checkpoint
from hdpo.run.evaluate import require_same_run
from hdpo.run.train import train_run
from hdpo.system.errors import UserError
from helpers.runs import assert_same, damage, results

LOGS = ("metrics.jsonl", "evals.parquet", "samples.parquet")
FILES = ("policy.safetensors", "optimizer.safetensors", *LOGS, "state.json")


@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(finished, capsys, file, how):
    before = results(finished)
    (finished.folder / "run.json").unlink()
    newest = sorted(finished.state_folder.glob("step-*"))[-1]
    damage(newest / file, how)
    train_run(finished)
    printed = capsys.readouterr()
    assert f"hdpo: damaged checkpoint: {newest}" in printed.err and "going on from step-000004" in printed.err
    assert "resuming after step 4" in printed.out
    assert_same(results(finished), before)


@pytest.mark.parametrize(("old", "new"), [('"step": 5', '"step": 4'), ('"sha256"', '"sha257"'), ('"files"', '"file"')])
def test_an_altered_state_of_a_checkpoint_is_noticed(finished, capsys, old, new):
    state = finished.state_folder / "step-000005/state.json"
    assert old in state.read_text()
    state.write_text(state.read_text().replace(old, new))
    (finished.folder / "run.json").unlink()
    train_run(finished)
    assert "step-000005: removed; going on from step-000004" in capsys.readouterr().err


def test_without_a_good_checkpoint_training_is_refused_and_nothing_touched(finished):
    (finished.folder / "run.json").unlink()
    for folder in finished.state_folder.glob("step-*"):
        damage(folder / "policy.safetensors", "altered")

    def contents() -> dict:
        return {path: path.read_bytes() for path in finished.state_folder.rglob("*/*") if path.is_file()}

    before = contents()
    assert before
    with pytest.raises(UserError, match=r"no usable checkpoint \(2 damaged\); delete that folder"):
        train_run(finished)
    assert before == contents()


def test_a_checkpoint_of_another_config_is_refused(finished, capsys):
    other = finished.study.run("hdpo-frozen-0.1+clip=0.3", 1)
    assert other.hash != finished.hash
    learner = Trainer(other).learner
    with pytest.raises(UserError, match="no usable checkpoint"):
        load_checkpoint(finished.state_folder, other.hash, learner.weights, learner.optimizer)
    assert "belongs to another config" in capsys.readouterr().err


def test_a_changed_result_is_refused_where_it_is_read(finished):
    require_same_run(finished)
    for name in ("model/model.safetensors", *LOGS):
        file = finished.folder / name
        whole = file.read_bytes()
        damage(file, "altered")
        with pytest.raises(UserError, match=rf"{file.name}: missing, truncated or altered"):
            require_same_run(finished)
        file.write_bytes(whole)
    require_same_run(finished)
    record = finished.folder / "run.json"
    record.write_text(record.read_text().replace('"seconds": ', '"seconds": 9'))
    with pytest.raises(UserError, match=r"run.json: altered since it was written"):
        require_same_run(finished)
