"""Written problems: which rows each split holds, what is dropped, what the prompts show, what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from hdpo.cli import main
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from hdpo.tasks import SPLITS, Problem, Verdict
from hdpo.tasks.math import WrittenMath
from hdpo.tasks.rows import held_out
from hdpo.tasks.survey import survey
from helpers.studies import ROOT, tiny

GSM8K = Path(os.environ.get("HDPO_GSM8K", ROOT.parent / "shared/data/gsm8k"))
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FRAME = len("<|user|><|end|><|assistant|>")  # one token per byte here, special tokens included


def save_byte_tokenizer(folder: Path, chat_template: str | None = CHAT) -> None:
    """A tokenizer of the 256 bytes and an end token: the length of a prompt can be counted by hand."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(["<eos>", *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")
    fast.chat_template = chat_template
    fast.save_pretrained(folder)


def omi_rows(count: int, start: int = 0) -> list[dict[str, str]]:
    """Rows of OpenMathInstruct-2's columns; problems are all different and all of one length."""
    return [
        {
            "problem": f"What is {n:04d} + 1?",
            "generated_solution": f"We add: {n} + 1 = {n + 1}. So \\boxed{{{n + 1:04d}}}",
            "expected_answer": str(n + 1),
            "problem_source": "augmented_math",
        }
        for n in range(start, start + count)
    ]


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a byte tokenizer as the base model, and a data cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))  # for other processes
    save_byte_tokenizer(tmp_path / "base")
    return tmp_path


def write_study(folder: Path, **changes) -> Path:
    """A study on data/train_1M.jsonl; changes as in conftest's `tiny`."""
    task = {
        "name": "openmathinstruct2",
        "path": "data",
        "seed": 42,
        "train_share": 0.75,
        "problems": {"train": 30, "development": 2, "validation": 4, "test": 3},
        "reward": "boxed",
        "reward_timeout": 2.0,
        "hint": "answer",
    }
    settings = {"task": task, "model__path": "base", "pretrain": None, "model__max_length": 500}
    raw = tiny(**settings | {"train__max_response_tokens": 100, "train__prompts_per_step": 2} | changes)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def make_task(folder: Path, rows: list[dict] | None = None, **changes):
    if rows is not None:
        write_rows(folder / "data/train_1M.jsonl", rows)
    return task_of(load_study(write_study(folder, **changes)))


def numbers(task, split: str) -> list[int]:
    return [int(problem.id.split("-")[1]) for problem in task.problems(split)]


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
    assert dropped == {"student_too_long": 1, "teacher_too_long": 2, "unanswered": 1}
    line = capsys.readouterr().err
    assert "train: 26 of 30 rows kept (1 student too long, 2 teacher too long, 1 unanswered)" in line


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
    monkeypatch.setattr(WrittenMath, "lengths", lambda task, prompts: tokenised.extend(prompts) or [1] * len(prompts))

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


def test_a_revision_of_the_hub_is_asked_for_and_its_commit_known(folder, monkeypatch):
    """`datasets` keeps what it loaded from the hub in a folder named after the commit."""
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    local = datasets.load_dataset("json", data_files=["data/train_1M.jsonl"], split="train")
    assert make_task(folder).commit is None
    local.save_to_disk("c" * 40)
    asked = []

    def load(path, subset, split, revision):
        asked.append((path, subset, split, revision))
        return datasets.load_from_disk("c" * 40)

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = make_task(folder, task__path="nobody/nothing", task__revision="v1")
    assert task.commit == "c" * 40 and asked == [("nobody/nothing", None, "train_1M", "v1")]


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
        return load_study(write_study(folder, task__templates="own")).run("grpo", 1).hash

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


@pytest.mark.parametrize(
    ("response", "echo"),
    [
        ("The answer is \\boxed{7}.", True),
        ("\\boxed{7}", True),
        ("7", True),
        ("Tom has 3 apples and Ann 4, so the answer is 7. \\boxed{7}", True),  # the problem's numbers, no calculation
        ("3 + 4 = 7, so \\boxed{7}", False),
        ("Half of it would be 3.5; twice that is \\boxed{7}", False),  # a number of its own
        ("\\frac{14}{2}, hence \\boxed{7}", False),
        ("Adding gives \\boxed{3 + 4}", True),  # work inside the box is the answer itself
    ],
)
def test_an_echo_repeats_the_answer_without_work(folder, response, echo):
    task = make_task(folder, omi_rows(40))
    problem = Problem("p", "Tom has 3 apples, Ann has 4. How many together?", "7", 2, "7")
    assert task.is_echo(problem, response) is echo


def test_a_shown_solution_repeated_word_for_word_is_an_echo(folder):
    task = make_task(folder, omi_rows(40), task__hint="solution")
    problem = task.problems("train")[0]
    assert task.is_echo(problem, problem.hint.replace(" ", "  ") + "\n")
    assert not task.is_echo(problem, problem.hint + " Check: 2 - 1 = 1")


def test_verdicts_come_in_order_and_equal_answers_are_judged_once(folder):
    task = make_task(folder, omi_rows(40))
    one, two = task.problems("train")[0], task.problems("train")[1]
    right = [f"\\boxed{{{problem.answer}}}" for problem in (one, two)]
    tower = "\\boxed{9^{9^{9^{9}}}}"
    problems = [one, one, two, two, one, one]
    verdicts = task.judge(problems, [right[0], right[1], right[1], "no box", tower, tower])
    task.pool.close()
    assert verdicts == [
        Verdict.CORRECT,
        Verdict.WRONG,
        Verdict.CORRECT,
        Verdict.UNPARSABLE,
        Verdict.TIMED_OUT,
        Verdict.TIMED_OUT,
    ]


def test_countdown_judges_by_its_reward(make_study):
    task = task_of(make_study())
    problem = task.problems("test")[0]
    assert task.judge([problem] * 2, [problem.hint, "1 + 1 = 2"]) == [Verdict.CORRECT, Verdict.WRONG]
    assert task.is_echo(problem, problem.hint) and not task.is_echo(problem, "1 + 1 = 2")


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (None, {"task__path": "./data"}, "task.path ./data: no train_1M.parquet"),
        ([{"problem": "a", "expected_answer": "b"}], {}, "no column 'generated_solution'"),
        ([row | {"expected_answer": 3} for row in omi_rows(40)], {}, "column 'expected_answer' must hold text"),
        (omi_rows(12), {}, "task.problems.development: 2 wanted, 0 left of 3"),
        (omi_rows(40), {"model__max_length": 110}, "0 left of 0 in the train part (prompts over 10 tokens"),
        (
            omi_rows(40),
            {"task__path": "someone/nothing"},
            "task.path someone/nothing, split train_1M: cannot be loaded",
        ),
        (omi_rows(40), {"task__path": "study.yaml"}, "expected a .parquet, .jsonl or .json file"),
        (omi_rows(40), {"task__train_share": 1.0}, "task.train_share"),
        (omi_rows(40), {"task__reward": "exact"}, "task.reward"),
        (omi_rows(40), {"task__templates": "nowhere"}, "no student.txt there"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(folder, capsys, monkeypatch, rows, changes, expected):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    if rows is not None:
        write_rows(folder / "data/train_1M.jsonl", rows)
    assert main(["data", str(write_study(folder, **changes))]) == 2
    error = capsys.readouterr().err.splitlines()
    assert expected in error[-1] and error[-1].startswith("hdpo: ")
    assert not any("Traceback" in line for line in error)
    assert not (folder / "results").exists()


def test_damaged_and_empty_data_are_one_line(folder, capsys):
    (folder / "data").mkdir()
    pd.DataFrame(omi_rows(1))[:0].to_parquet("data/train_1M.parquet")
    assert main(["data", str(write_study(folder))]) == 2
    error = capsys.readouterr().err
    assert "split train_1M: cannot be loaded (ArrowInvalid: " in error and error.count("\n") == 1
    (folder / "data/train_1M.parquet").unlink()
    (folder / "data/train_1M.jsonl").touch()
    study = write_study(folder)
    assert main(["data", str(study)]) == 2
    assert capsys.readouterr().err == "hdpo: task.path data: train_1M.jsonl is empty\n"
    (folder / "data/train_1M.jsonl").unlink()
    (folder / "data/train_1M.parquet").write_bytes(b"PAR1 and no more")
    command = [sys.executable, "-m", "hdpo.cli", "data", str(study)]  # a process of its own: logs have no other way out
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not (folder / "results").exists()
    assert done.stderr.startswith("hdpo: task.path data, split train_1M: cannot be loaded (ArrowInvalid: ")
    assert done.stderr.count("\n") == 1


def test_a_tokenizer_without_chat_template_is_refused(folder, capsys):
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    (folder / "base/chat_template.jinja").unlink()
    assert main(["prompts", str(write_study(folder))]) == 2
    assert "tokenizer has no chat template" in capsys.readouterr().err


def test_commands_print_and_write_what_they_measure(folder, capsys, make_study):
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    study = write_study(folder)
    assert main(["data", str(study)]) == 0
    assert "validation: 4 problems, 4 distinct, 0 of them (0.0 %) also in training" in capsys.readouterr().out
    written = json.loads((folder / "results/smoke/data.json").read_text())
    assert written["rows"] == {"train_1M": 40} and written["prompt_limit"] == 400
    task = task_of(load_study(study))
    problem = task.problems("train")[7]
    student, teacher = task.student_prompt(problem), task.privileged_prompt(problem)
    assert written["splits"]["train"]["tokens"]["student_prompt"] == [len(student)] * 3
    assert main(["prompts", str(study), "--problem", "7"]) == 0
    out = capsys.readouterr().out
    assert f"student, problem 7 ({problem.id}), {len(student)} tokens\n{student}" in out
    assert f"teacher, problem 7 ({problem.id}), {len(teacher)} tokens\n{teacher}" in out
    assert main(["prompts", str(study), "--problem", "30"]) == 2
    assert "numbered 0 to 29" in capsys.readouterr().err
    make_study()
    assert main(["data", "study.yaml"]) == 2
    assert "no data to measure" in capsys.readouterr().err


@pytest.mark.skipif(not GSM8K.is_dir(), reason="needs GSM8K's files")
def test_gsm8ks_own_solutions_are_correct_and_share_no_problem_with_its_test(folder):
    sizes = {"train": 400, "development": 50, "validation": 100, "test": 1319}
    changes = {"task__name": "gsm8k", "task__path": str(GSM8K), "task__train_share": 0.95, "task__hint": "solution"}
    task = make_task(folder, **changes, task__problems=sizes, model__max_length=5000)
    problems = list(task.problems("train"))
    assert task.judge(problems, [problem.hint for problem in problems]) == [Verdict.CORRECT] * 400
    assert task.judge(problems, [f"\\boxed{{{problem.answer}1}}" for problem in problems]) == [Verdict.WRONG] * 400
    task.pool.close()
    found = survey(task)
    assert found["splits"]["test"] | {"tokens": 0} == {
        "problems": 1319,
        "distinct": 1319,
        "also_in_training": 0,
        "tokens": 0,
    }
    assert sum(value for part in found["dropped"].values() for value in part.values()) == 0


def test_a_run_trains_and_is_evaluated_on_written_problems(folder):
    """The whole way through `hdpo train` and `hdpo evaluate`, with a random model of bytes: nothing is right."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=257, num_key_value_heads=2, max_position_embeddings=512, eos_token_id=0, **shape)
    Qwen2ForCausalLM(config).save_pretrained(folder / "base")
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    small = {"train__steps": 2, "train__rollouts_per_prompt": 3, "train__max_response_tokens": 8}
    counts = {"evaluate__every": 2, "evaluate__samples": 1, "evaluate__test_samples": 1, "evaluate__ks": [1]}
    path = write_study(folder, **small, **counts, train__backend="transformers")
    options = ["study.yaml", "--run", "hdpo-drifting-0.1", "--seed", "1"]
    done = subprocess.run([sys.executable, "-m", "hdpo.cli", "train", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert main(["evaluate", *options]) == 0
    run, task = load_study(path).run("hdpo-drifting-0.1", 1), task_of(load_study(path))
    steps = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(step["reward"], step["cliffs"], step["demonstrations"]) for step in steps] == [(0, 2, 0)] * 2
    outcomes = pd.read_parquet(run.study.root / "eval/hdpo-drifting-0.1/seed1.parquet")
    assert outcomes["problem"].tolist() == [problem.id for problem in task.problems("test")]
