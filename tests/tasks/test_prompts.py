"""Prompts and templates: the teacher alone sees the hint, and a run is known by what it shows."""

import shutil

import pytest

from hdpo.claims.summary import config_hash
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.written import make_task, omi_rows, write_rows, write_written


def test_student_and_teacher_get_the_same_chat_template_and_only_the_teacher_the_hint(folder):
    rows = [row | {"expected_answer": "SECRET"} for row in omi_rows(40)]
    for row in rows:
        row["problem"] += r" Give \text{answer} and {solution}."  # LaTeX that looks like a slot
    task = make_task(folder, rows)
    problem = task.problems("train")[0]
    student, teacher = task.student_prompt(problem), task.privileged_prompt(problem)
    for prompt in (student, teacher):
        assert prompt.startswith("<|user|>") and prompt.endswith("<|end|><|assistant|>") and "\\boxed{}" in prompt
        assert prompt.count(problem.question) == 1
    assert "SECRET" not in student and teacher.count("SECRET") == 1
    assert task.lengths([student]) == [len(student)]


def test_templates_of_ones_own_replace_the_kits(folder):
    own = folder / "own"
    own.mkdir()
    (own / "student.txt").write_text("Q {problem}\n")
    with pytest.raises(UserError, match=r"no answer\.txt there"):
        make_task(folder, omi_rows(40), task__templates="own")
    (own / "answer.txt").write_text("Q {problem} A {answer}")
    task = make_task(folder, task__templates="own")
    problem = task.problems("train")[0]
    assert task.privileged_prompt(problem) == f"<|user|>Q {problem.question} A {problem.answer}<|end|><|assistant|>"
    for role, text in (("student", "no slot"), ("student", "{problem} {answer}"), ("answer", "{problem} {solution}")):
        kept = (own / f"{role}.txt").read_text()
        (own / f"{role}.txt").write_text(text)
        with pytest.raises(UserError, match="template must hold"):
            make_task(folder, task__templates="own")
        (own / f"{role}.txt").write_text(kept)


def test_a_runs_identity_covers_its_data_and_templates(folder):
    def run_hash() -> str:
        return load_study(write_written(folder, task__templates="own")).run("grpo", 1).hash

    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    (folder / "own").mkdir()
    for name, text in (("student", "{problem}"), ("answer", "{problem} {answer}")):
        (folder / f"own/{name}.txt").write_text(text)
    hashes = [run_hash(), run_hash()]
    (folder / "own/student.txt").write_text("{problem}!")
    hashes.append(run_hash())
    write_rows(folder / "data/train_1M.jsonl", omi_rows(41))
    hashes.append(run_hash())
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


def test_a_runs_identity_does_not_depend_on_the_folder(folder, monkeypatch):
    """The same files at home, seen from elsewhere and moved; but a hub's name is all that says what data it means."""

    def identities(place: str) -> tuple[str, str, str]:
        study = load_study(place)
        return study.run("grpo", 1).hash, study.base_hash, config_hash(study, "grpo")

    write_rows(folder / "home/data/train_1M.jsonl", omi_rows(40))
    (folder / "base").rename(folder / "home/base")
    (folder / "home/own").mkdir()
    for name, text in (("student", "{problem}"), ("answer", "{problem} {answer}")):
        (folder / f"home/own/{name}.txt").write_text(text)
    write_written(folder / "home", task__templates="own")
    seen = {identities("home/study.yaml")}
    monkeypatch.chdir(folder / "home")
    seen.add(identities("study.yaml"))
    shutil.copytree(folder / "home", folder / "moved")
    monkeypatch.chdir(folder / "moved")
    seen.add(identities("study.yaml"))
    assert len(seen) == 1
    hub = [identities(str(write_written(folder, task__path=name))) for name in ("kit/one", "kit/other")]
    assert len({run for run, *_ in [*hub, *seen]}) == 3
