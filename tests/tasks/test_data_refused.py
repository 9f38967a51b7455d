"""Data and tokenizers that cannot be used: one line and exit code 2."""

import subprocess
import sys

import pandas as pd
import pytest

from hdpo.cli import main
from helpers.written import omi_rows, write_rows, write_written


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (None, {"task__path": "./data"}, "task.path ./data: no train_1M.parquet"),
        ([{"problem": "a", "expected_answer": "b"}], {}, "no column 'generated_solution'"),
        (
            [row | {"expected_answer": [3]} for row in omi_rows(40)],
            {},
            "column 'expected_answer' is no text or numbers",
        ),
        (omi_rows(12), {}, "task.problems.validation: 4 wanted, 3 left of 3"),
        (omi_rows(40), {"model__max_length": 110}, "0 left of 0 in the train part (without 30 student too long: rows"),
        (
            omi_rows(40),
            {"task__path": "someone/nothing"},
            "task.path someone/nothing: cannot be loaded",
        ),
        (omi_rows(40), {"task__path": "study.yaml"}, "expected a file that ends in .parquet, .jsonl, .json, .csv"),
        (omi_rows(40), {"task__train_share": 1.0}, "task.train_share"),
        (
            omi_rows(40),
            {"task__reward": "exactly"},
            "reward: no verifier 'exactly'; choose from hf_math_verify",
        ),
        (omi_rows(40), {"task__templates": "nowhere"}, "no student.txt there"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder, capsys, monkeypatch, rows, changes, expected):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if rows is not None:
        write_rows(folder / "data/train_1M.jsonl", rows)
    assert main(["data", str(write_written(folder, **changes))]) == 2
    error = capsys.readouterr().err.splitlines()
    assert expected in error[-1] and error[-1].startswith("hdpo: ")
    assert not any("Traceback" in line for line in error)
    assert not list(folder.glob("results/*/runs"))


@pytest.mark.slow
def test_damaged_and_empty_data_are_one_line(folder, capsys):
    (folder / "data").mkdir()
    pd.DataFrame(omi_rows(1))[:0].to_parquet("data/train_1M.parquet")
    assert main(["data", str(write_written(folder))]) == 2
    error = capsys.readouterr().err
    assert "0 left of 0 in the train part" in error and error.count("\n") == 1
    (folder / "data/train_1M.parquet").unlink()
    (folder / "data/train_1M.jsonl").touch()
    study = write_written(folder)
    assert main(["data", str(study)]) == 2
    assert capsys.readouterr().err == "hdpo: task.path data: train_1M.jsonl is empty\n"
    (folder / "data/train_1M.jsonl").unlink()
    (folder / "data/train_1M.parquet").write_bytes(b"PAR1 and no more")
    command = [sys.executable, "-m", "hdpo.cli", "data", str(study)]  # a process of its own: logs have no other way out
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not (folder / "results").exists()
    assert done.stderr.startswith("hdpo: data/train_1M.parquet: cannot be read (ArrowInvalid: ")
    assert done.stderr.count("\n") == 1


def test_a_tokenizer_without_chat_template_is_refused(folder, capsys):
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    (folder / "base/chat_template.jinja").unlink()
    assert main(["prompts", str(write_written(folder))]) == 2
    assert "tokenizer has no chat template" in capsys.readouterr().err
