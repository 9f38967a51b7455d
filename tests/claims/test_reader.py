"""Results that are read: metrics by hand, and what is refused."""

import numpy as np
import pytest

from hdpo.claims.reader import Outcomes
from hdpo.claims.results import Results
from hdpo.system.errors import UserError
from hdpo.system.files import write_record
from helpers.synthetic import (
    seal,
    write_final,
    write_metrics,
    write_training,
)

GREEDY = np.array([1, 1, 0, 0])
SAMPLES = np.array([[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]])  # 4, 1, 1, 0 of 4


def test_metrics_by_hand():
    outcomes = Outcomes(GREEDY, SAMPLES)
    assert outcomes.score("greedy").tolist() == [1, 1, 0, 0]
    assert outcomes.score("pass@1").tolist() == [1, 0.25, 0.25, 0]
    assert outcomes.score("pass@2").tolist() == [1, 0.5, 0.5, 0]
    assert outcomes.score("any@2").tolist() == [1, 0, 1, 0]
    with pytest.raises(UserError, match="pass@8: 4 samples"):
        outcomes.score("pass@8")


def test_rows_in_another_order_are_put_right(few):
    path = write_final(few, "grpo", 1, GREEDY, SAMPLES)
    before = Results(few).final["grpo", 1]
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(table.take([2, 0, 3, 1]), path)
    write_record(path.with_suffix(".json"), {}, [path])
    after = Results(few).final["grpo", 1]
    assert np.array_equal(before.greedy, after.greedy) and np.array_equal(before.samples, after.samples)


@pytest.mark.parametrize(
    ("falsified", "reason"),
    [
        ({"problems": {"test": "0123456789ab"}}, "test problem set is 0123456789ab"),
        ({"run_hash": "0123456789ab"}, "configuration hash is 0123456789ab"),
        ({"seed": 2}, "run is grpo seed 2"),
        ({"run": "hdpo-drifting-0.1"}, "run is hdpo-drifting-0.1 seed 1"),
        ({"samples": {"test": 8}}, "number of samples per problem is 8"),
    ],
    ids=["problems", "configuration", "seed", "run", "samples"],
)
def test_results_of_something_else_are_refused_in_one_line(few, falsified, reason):
    write_final(few, "grpo", 1, GREEDY, SAMPLES, falsified)
    with pytest.raises(UserError) as error:
        Results(few)
    assert reason in str(error.value) and "seed1.parquet" in str(error.value) and "\n" not in str(error.value)


def test_damaged_files_are_refused_in_one_line(few):
    path = write_final(few, "grpo", 1, GREEDY, SAMPLES)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not parquet"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"seed1\.parquet: missing, truncated or altered since seed1\.json"):
            Results(few)
        write_record(path.with_suffix(".json"), {}, [path])  # written so
        with pytest.raises(UserError, match=r"seed1\.parquet: damaged"):
            Results(few)
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"seed1\.json: missing"):
        Results(few)
    write_final(few, "grpo", 1, np.array([1, 1, 0, 7]), SAMPLES)
    with pytest.raises(UserError, match="must be 0 or 1"):
        Results(few)


def test_unfinished_training_is_refused(few):
    outcomes = {(split, step): (GREEDY, SAMPLES) for split in ("development", "validation") for step in (10,)}
    write_training(few, "grpo", 1, outcomes)
    with pytest.raises(UserError, match=r"evaluated every 10 of 20 steps, is at \[10\]"):
        Results(few)


def test_damaged_metrics_are_refused(study):
    path = write_metrics(study, "grpo", 1)
    path.write_text(path.read_text()[:-20])
    reader = Results(study).reader
    with pytest.raises(UserError, match=r"metrics\.jsonl: missing, truncated or altered since run\.json"):
        reader.metrics("grpo", 1)
    seal(study, "grpo", 1)
    with pytest.raises(UserError, match=r"metrics\.jsonl: not one JSON object"):
        reader.metrics("grpo", 1)
    seal(study, "grpo", 1, run_hash="other")
    with pytest.raises(UserError, match=r"run\.json: its configuration hash is other"):
        reader.metrics("grpo", 1)
    (path.parent / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json: missing"):
        reader.metrics("grpo", 1)
