"""Which rows each split holds, and which prompts are too long."""

import datasets
import numpy as np
import pandas as pd

from hdpo.tasks import SPLITS, Problem
from hdpo.tasks.rows import held_out
from hdpo.tasks.survey import survey
from helpers.written import make_task, numbers, omi_rows, write_rows


def test_rows_are_split_as_the_base_framework_does():
    """It calls train_test_split of `datasets` with test_size 0.05 and seed 42."""
    for count, share in ((1000, 0.05), (7473, 0.05), (10, 0.25)):
        parts = datasets.Dataset.from_dict({"row": range(count)}).train_test_split(test_size=share, seed=42)
        train, held = held_out(count, 1 - share, 42)
        assert parts["train"]["row"][:] == train.tolist() and parts["test"]["row"][:] == held.tolist()
    assert len(held_out(1_000_000, 0.95, 42)[1]) == 50_000


def test_held_out_rows_go_to_validation_first(folder):
    task = make_task(folder, omi_rows(40))
    order = np.random.default_rng(42).permutation(40).tolist()
    assert numbers(task, "validation") == order[:4]
    assert numbers(task, "test") == order[4:7]
    assert numbers(task, "development") == order[7:9]
    assert numbers(task, "train") == order[10:]
    first = task.problems("validation")[0]
    assert (first.question, first.answer) == (f"What is {order[0]:04d} + 1?", str(order[0] + 1))
    assert first.hint == first.answer
    assert make_task(folder, task__hint="solution").problems("validation")[0].hint.startswith("We add: ")


def test_parquet_and_json_lines_hold_the_same_problems(folder):
    task = make_task(folder, omi_rows(40))
    pd.DataFrame(omi_rows(40)).to_parquet(folder / "train_1M-00000-of-00001.parquet")
    for path in ("train_1M-00000-of-00001.parquet", "."):  # a file, a folder laid out as on the hub
        other = make_task(folder, task__path=path)
        assert all(list(task.problems(split)) == list(other.problems(split)) for split in SPLITS)


def test_repeated_problems_are_counted_and_can_be_dropped(folder):
    """20 problems, each in two rows: of the ten held-out rows, those whose twin is a training row count."""
    rows = omi_rows(20) + [row | {"problem": row["problem"].replace(" is ", "  IS ")} for row in omi_rows(20)]
    sizes = {"train": 30, "development": 2, "validation": 5, "test": 3}
    found = survey(make_task(folder, rows, task__problems=sizes))
    order = np.random.default_rng(42).permutation(40).tolist()
    training = {row % 20 for row in order[10:]}
    expected = {"validation": order[:5], "test": order[5:8], "development": order[8:10]}
    counts = {split: found["splits"][split]["also_in_training"] for split in expected}
    assert counts == {split: sum(row % 20 in training for row in held) for split, held in expected.items()}
    assert sum(counts.values()) >= 5
    assert found["splits"]["train"]["problems"] == 30 and found["splits"]["train"]["distinct"] == len(training)

    sizes = {"train": 30, "development": 1, "validation": 2, "test": 2}
    found = survey(make_task(folder, task__problems=sizes, task__repeated_problems="drop"))
    assert all(found["splits"][split]["also_in_training"] == 0 for split in expected)
    assert found["splits"]["train"]["problems"] == found["splits"]["train"]["distinct"] == 15


def test_gsm8k_brings_its_own_test_problems_and_boxes_its_answer(folder):
    rows = [
        {"question": f"{n} apples?", "answer": f"2*{n}=<<2*{n}=1>>{2 * n}\nso\n#### {n},{n:03d}"} for n in range(1, 41)
    ]
    write_rows(folder / "data/train.jsonl", rows)
    write_rows(folder / "data/test.jsonl", rows[:1] + [row | {"question": "New: " + row["question"]} for row in rows])
    task = make_task(folder, task__name="gsm8k", task__hint="solution", task__problems__test=5)
    assert numbers(task, "test") == [0, 1, 2, 3, 4]
    order = np.random.default_rng(42).permutation(40).tolist()
    assert numbers(task, "validation") == order[:4] and numbers(task, "development") == order[4:6]
    problem = task.problems("test")[1]
    assert problem == Problem(
        problem.id, "New: 1 apples?", "2*1=2\nso\nThe final answer is \\boxed{1001}.", difficulty=1, answer="1001"
    )
    assert survey(task)["splits"]["test"]["also_in_training"] == (0 if 0 in order[:10] else 1)
    task = make_task(folder, task__name="gsm8k", task__hint="solution", task__repeated_problems="drop")
    assert numbers(task, "test") == [1, 2, 3]
