"""The task `problems`: any file, any columns, several verifiers; what cannot be used is said in one line."""

import json
import sys
import types
from importlib.metadata import EntryPoint

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hdpo.cli import main
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from hdpo.tasks import SPLITS, Verdict
from hdpo.tasks.rows import REASONS
from hdpo.tasks.verifiers import exact, find_verifier, numeric
from helpers.studies import task_of
from helpers.written import write_rows, write_written

COLUMNS = {"problem": "q", "answer": "a", "solution": "s"}


def rows(count=20, start=0):
    return [
        {"q": f"{n} + 1?", "a": n + 1, "s": f"{n} + 1 = {n + 1}", "n": f"p{n}"} for n in range(start, start + count)
    ]


def write_study(folder, **task):
    """A study of problems.jsonl, with the keys of `task` changed."""
    section = {"name": "problems", "files": {"train": "problems.jsonl"}, "columns": COLUMNS, "hint": "solution"}
    section |= {"problems": {"train": 20, "development": 1, "validation": 1, "test": 1}, "reward": "numeric"} | task
    return write_written(folder, task=section)


def load(folder, **task):
    return task_of(load_study(write_study(folder, **task)))


def write_csv(path, found):
    lines = [",".join(found[0]), *(",".join(f'"{value}"' for value in row.values()) for row in found)]
    path.write_text("\n".join(lines) + "\n")


def test_csv_json_lines_and_parquet_hold_the_same_problems(folder):
    """Also with Arrow's newer types of text, and answers that are numbers."""
    write_rows(folder / "problems.jsonl", rows())
    write_csv(folder / "problems.csv", rows())
    columns = {key: [row[key] for row in rows()] for key in rows()[0]}
    view = {"q": pa.array(columns["q"], pa.string_view()), "s": pa.array(columns["s"]).dictionary_encode()}
    pq.write_table(pa.table(columns | view), folder / "problems.parquet")
    found = [load(folder, files={"train": f"problems.{kind}"}) for kind in ("jsonl", "csv", "parquet")]
    sources = [task.sources[0].problems for task in found]
    assert sources[0] == sources[1] == sources[2] and len(sources[0]) == 20
    first = sources[0][0]
    assert (first.question, first.answer, first.hint) == ("0 + 1?", "1", "0 + 1 = 1")
    assert load(folder, columns=COLUMNS | {"id": "n"}).sources[0].problems[3].id == "p3"


def test_test_problems_of_ones_own_that_repeat_training_problems_are_left_out_or_said(folder, capsys):
    write_rows(folder / "problems.jsonl", rows())
    write_rows(folder / "test.jsonl", [{**row, "q": f" {row['q']} "} for row in rows(2)] + rows(3, 50))
    files, sizes = {"train": "problems.jsonl", "test": "test.jsonl"}, {"train": 20, "development": 1, "validation": 1}
    task = load(folder, files=files, problems=sizes | {"test": 3})
    assert [problem.answer for problem in task.problems("test")] == ["51", "52", "53"]
    assert "2 rows repeat the problem of an earlier row and are left out" in capsys.readouterr().err
    train = {problem.question for problem in task.problems("train")}
    assert all(train.isdisjoint(problem.question for problem in task.problems(split)) for split in SPLITS[1:])
    kept = load(folder, files=files, problems=sizes | {"test": 5}, repeated_problems="keep", train_share=0.85)
    training = {problem.question for problem in kept.problems("train")}
    twice = sum(problem.question.strip() in training for problem in kept.problems("test"))
    assert twice and f"{twice} of 5 test problems are also training problems" in capsys.readouterr().err
    (folder / "test.jsonl").write_bytes((folder / "problems.jsonl").read_bytes())
    with pytest.raises(UserError, match=r"task\.problems\.test: 3 wanted, 0 left of 0 in the test part"):
        load(folder, files=files, problems=sizes | {"test": 3})


def test_rows_that_cannot_be_used_are_left_out_and_named(folder, capsys):
    found = rows(40)
    found[3]["s"] = ""
    found[5]["s"] = None
    found[7]["s"] = "\\boxed{8}."
    found[9]["a"] = "ten"
    found[11]["a"] = None
    write_rows(folder / "problems.jsonl", found)
    task = load(folder, train_share=0.9)
    left = {name: [] for name in REASONS}
    for part in task.parts:
        for name, numbers in task.dropped(part, [task.sources[0].reasons]).items():
            left[name] += numbers
    assert sorted(left["no_hint"]) == [4, 6] and left["bare_hint"] == [8]
    assert left["unreadable_answer"] == [10] and left["unanswered"] == [12]
    assert task.problems("train") and "1 unreadable answer: row 10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "task", "expected"),
    [
        (None, {"files": {"train": "problems.jsonl", "test": "problems.jsonl"}}, "files.test is files.train"),
        (None, {"columns": {"problem": "q", "answer": "a"}}, "columns.solution names no column"),
        (None, {"columns": COLUMNS | {"answer": "z"}}, "problems.jsonl: no column 'z'; its columns: q, a, s, n"),
        (None, {"columns": COLUMNS | {"id": "s2"}}, "no column 's2'"),
        (None, {"reward": "fuzzy"}, "no verifier 'fuzzy'; choose from hf_math_verify, boxed, exact, numeric"),
        (None, {"files": {"train": "nothing.csv"}}, "task.files nothing.csv: no nothing.csv.parquet"),
        (lambda row: row | {"a": ""}, {}, "0 left of 0 in the train part (without 16 unanswered: rows"),
        (lambda row: row | {"s": ""}, {}, "(without 16 no hint: rows"),
        (lambda row: row | {"a": "many"}, {}, "(without 16 unreadable answer: rows"),
        (lambda row: row | {"a": ["1"] if row["n"] == "p3" else "1"}, {}, "problems.jsonl: "),
        (lambda row: row | {"n": "same"}, {"columns": COLUMNS | {"id": "n"}}, "20 rows have the id 'same'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2_before_a_model_is_loaded(folder, capsys, change, task, expected):
    write_rows(folder / "problems.jsonl", [change(row) if change else row for row in rows()])
    study = write_study(folder, **task)
    (folder / "base/tokenizer.json").unlink()  # nothing of the model is there
    assert main(["train", str(study), "--run", "grpo", "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1 and "max_length" not in error


@pytest.mark.parametrize("name", ["problems.csv", "problems.jsonl"])
def test_text_that_is_not_utf8_is_one_line(folder, capsys, name):
    (folder / name).write_bytes(b'q,a,s\n"caf\xe9",1,x\n' if name.endswith("csv") else b'{"q": "caf\xe9"}\n')
    assert main(["plan", str(write_study(folder, files={"train": name}))]) == 2
    error = capsys.readouterr().err
    assert f"{name}: cannot be read" in error and error.count("\n") == 1


def test_results_of_a_file_that_has_changed_since_are_refused(folder, capsys):
    """A run is known by its data: a changed file is another run, and nothing mixes the two."""
    write_rows(folder / "problems.jsonl", rows())
    study = load_study(write_study(folder))
    run = study.run("grpo", 1)
    (run.folder).mkdir(parents=True)
    from hdpo.system.files import write_record

    write_record(run.folder / "run.json", {"run": "grpo", "seed": 1, "run_hash": run.hash}, [])
    write_rows(folder / "problems.jsonl", rows(21))
    assert main(["evaluate", "study.yaml", "--run", "grpo", "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert "made by config" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "response", "verdict"),
    [
        ("7", "so 3 + 4 = 7", Verdict.CORRECT),
        ("7", "\\boxed{7.0000001} and not 8", Verdict.CORRECT),
        ("1,234", "it is 1234.", Verdict.CORRECT),
        ("-0.5", "x = -.5", Verdict.CORRECT),
        ("7", "7 or 8", Verdict.WRONG),
        ("7", "seven", Verdict.UNPARSABLE),
        ("1000000", "1000000.5", Verdict.CORRECT),  # the tolerance grows with the answer
        ("1", "1.5", Verdict.WRONG),
    ],
)
def test_numbers_are_equal_within_the_tolerance(answer, response, verdict):
    assert numeric(answer, response, 1e-6) is verdict


def test_exact_match_reads_the_last_box_or_the_last_line():
    assert exact("New York", "I think\nNew  York ") is Verdict.CORRECT
    assert exact("B", "A? \\boxed{A} No: \\boxed{B} it is") is Verdict.CORRECT
    assert exact("B", "b") is Verdict.WRONG
    assert exact("B", "") is Verdict.UNPARSABLE


def test_an_installed_package_brings_a_verifier(folder, monkeypatch):
    def starts(answer, response):
        return response.startswith(answer)

    starts.reads = str.isdigit
    monkeypatch.setitem(sys.modules, "others", types.SimpleNamespace(starts=starts))
    point = EntryPoint("starts", "others:starts", "hdpo.verifiers")

    def points(group, name=None):
        return [point] if group == "hdpo.verifiers" and name in (None, "starts") else []

    for module in ("config", "verifiers"):
        monkeypatch.setattr(f"hdpo.tasks.{module}.entry_points", points)
    monkeypatch.setattr("hdpo.tasks.config.find_spec", lambda name: None)
    write_rows(folder / "problems.jsonl", rows())
    task = load(folder, reward="starts")
    assert find_verifier(task.config) == (starts, ())
    monkeypatch.setattr(task.pool, "map", lambda calls: [starts(*call) for call in calls])
    problem = task.sources[0].problems[0]
    assert task.judge([problem] * 2, ["1!", "2!"]) == [Verdict.CORRECT, Verdict.WRONG]
    assert json.loads(json.dumps(task.config.described))["reward"] == "starts"
