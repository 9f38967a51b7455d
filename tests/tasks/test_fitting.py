"""Over-long prompts: dropped whole, counted as the tokenizer counts, and looked for once."""

import numpy as np

from hdpo.tasks.rows import REASONS
from hdpo.tasks.survey import survey
from hdpo.tasks.written import WrittenTask
from helpers.studies import ROOT
from helpers.written import CHAT, make_task, numbers, omi_rows, save_byte_tokenizer


def test_over_long_prompts_are_dropped_whole_and_reported(folder, capsys):
    rows = omi_rows(40)
    task = make_task(folder, rows)
    student, teacher = (
        len(prompt(task.problems("train")[0])) for prompt in (task.student_prompt, task.privileged_prompt)
    )
    at_limit = make_task(folder, model__max_length=100 + teacher)
    assert len(at_limit.problems("train")) == 30 and "kept" not in capsys.readouterr().err

    train = np.random.default_rng(42).permutation(40)[10:]
    rows[train[0]]["problem"] += "x"  # both prompts one token longer: only the teacher's no longer fits
    rows[train[1]]["problem"] += "x" * (teacher - student + 1)
    rows[train[2]]["problem"] += "é"  # two bytes, hence two tokens
    rows[train[3]]["expected_answer"] = " "
    task = make_task(folder, rows, model__max_length=100 + teacher)
    assert numbers(task, "train") == train[4:].tolist()
    dropped = survey(task)["dropped"]["train"]
    assert dropped == dict.fromkeys(REASONS, 0) | {"student_too_long": 1, "teacher_too_long": 2, "unanswered": 1}
    line = capsys.readouterr().err
    long = sorted(train[[0, 2]] + 1)
    assert (
        f"train: 30 rows, without 1 unanswered: row {train[3] + 1}; 1 student too long: row {train[1] + 1};"
        f" 2 teacher too long: rows {long[0]}, {long[1]}" in line
    )


def test_a_character_that_normalisation_makes_longer_is_counted_as_the_tokenizer_does(folder):
    """U+1D1C0 has 4 bytes and, as Qwen's tokenizer normalises it, 12."""
    from tokenizers import Tokenizer, normalizers

    tokenizer = Tokenizer.from_file("base/tokenizer.json")
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.save("base/tokenizer.json")
    rows, train = omi_rows(40), np.random.default_rng(42).permutation(40)[10:]
    teacher = len(make_task(folder, rows).privileged_prompt(make_task(folder).problems("train")[0]))
    rows[train[0]]["problem"] += "\U0001d1c0"
    limits = {size: make_task(folder, rows, model__max_length=100 + teacher + size) for size in (11, 12)}
    assert numbers(limits[11], "train") == train[1:].tolist()
    assert numbers(limits[12], "train") == train.tolist()


def test_over_long_prompts_are_found_once_and_anew_when_anything_changes(folder, monkeypatch, capfd):
    """Another limit, hint, template, tokenizer or row is another question; the same one is not asked twice."""
    tokenised = []
    monkeypatch.setattr(WrittenTask, "lengths", lambda task, prompts: tokenised.extend(prompts) or [1] * len(prompts))

    def asks(rows: list[dict] | None = None, **changes) -> bool:
        tokenised.clear()
        make_task(folder, rows, **{"model__max_length": 200} | changes).problems("train")
        said = "finding over-long prompts among 40 rows, once" in capfd.readouterr().err
        assert said == bool(tokenised)
        return said

    rows = omi_rows(40)
    assert asks(rows) and not asks()
    assert asks(model__max_length=201) and not asks(model__max_length=201)
    assert asks(task__hint="solution")
    assert not asks() and not asks(seeds=[5])
    (folder / "t").mkdir()
    for name in ("student", "answer"):
        (folder / f"t/{name}.txt").write_text((ROOT / f"hdpo/tasks/templates/{name}.txt").read_text() + "Go.")
    assert asks(task__templates="t")
    save_byte_tokenizer(folder / "base", CHAT.replace("assistant", "model"))
    assert asks()
    rows[0]["problem"] += "?"
    assert asks(rows) and not asks()
