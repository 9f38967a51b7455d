"""Written problems: verdicts, echoes, and a whole run on them."""

import json
import subprocess
import sys
from fnmatch import fnmatch

import pandas as pd
import pytest
import torch

from hdpo.cli import main
from hdpo.study.study import load_study
from hdpo.tasks import Problem, Verdict
from hdpo.tasks.survey import survey
from helpers.studies import task_of
from helpers.written import GSM8K, make_task, omi_rows, write_rows, write_written


def test_a_revision_of_the_hub_is_asked_for_and_its_commit_known(folder, monkeypatch):
    """The hub's files lie in a folder named after the commit, and are found there as in a folder of one's own."""
    write_rows(folder / ("c" * 40) / "data/train_1M-00000-of-00001.jsonl", omi_rows(40))
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    assert make_task(folder).commit is None
    asked = []

    def download(path, repo_type, revision, allow_patterns):
        asked.append((path, repo_type, revision))
        assert (
            fnmatch("data/train_1M-00000-of-00001.jsonl", "data/train_1M[.-]*")
            and "data/train_1M[.-]*" in allow_patterns
        )
        return str(folder / ("c" * 40))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    task = make_task(folder, task__path="nobody/nothing", task__revision="v1")
    assert task.commit == "c" * 40 and asked == [("nobody/nothing", "dataset", "v1")]
    assert task.problems("train") == make_task(folder).problems("train")


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


def test_commands_print_and_write_what_they_measure(folder, capsys, make_study):
    write_rows(folder / "data/train_1M.jsonl", omi_rows(40))
    study = write_written(folder)
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
    counts = {
        "evaluate__conversion_samples": None,
        "evaluate__every": 2,
        "evaluate__samples": 1,
        "evaluate__test_samples": 1,
        "evaluate__ks": [1],
    }
    path = write_written(folder, **small, **counts, train__backend="transformers")
    options = ["study.yaml", "--run", "hdpo-drifting-0.1", "--seed", "1"]
    done = subprocess.run([sys.executable, "-m", "hdpo.cli", "train", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert main(["evaluate", *options]) == 0
    run, task = load_study(path).run("hdpo-drifting-0.1", 1), task_of(load_study(path))
    steps = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(step["reward"], step["cliffs"], step["demonstrations"]) for step in steps] == [(0, 2, 0)] * 2
    outcomes = pd.read_parquet(run.study.root / "eval/hdpo-drifting-0.1/seed1.parquet")
    assert outcomes["problem"].tolist() == [problem.id for problem in task.problems("test")]
