"""`hdpo init`: from a model and a file to a study that trains, without an edit."""

import subprocess
import sys

import pytest
import torch

from hdpo.cli import main
from hdpo.study.study import load_study
from helpers.studies import task_of
from helpers.word_problems import write_word_problems
from helpers.written import save_byte_tokenizer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A random model of bytes that has a chat template, and a CSV of sums."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Qwen2Config(vocab_size=257, num_key_value_heads=2, max_position_embeddings=2048, eos_token_id=0, **shape)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    save_byte_tokenizer(tmp_path / "model")
    write_word_problems(tmp_path / "sums.csv", 60)
    return tmp_path


def test_init_guesses_columns_measures_lengths_and_plans_memory(folder, capsys):
    assert main(["init", "mine", "--problems", "sums.csv", "--model", "model"]) == 0
    out = capsys.readouterr().out
    assert '{"problem": "question", "answer": "answer", "solution": "solution"}' in out
    assert "Next: hdpo train mine.yaml --run hdpo-drifting-0.1 --seed 1" in out
    study = load_study("mine.yaml")
    assert study.task.reward == "numeric" and study.task.hint == "solution" and study.task.problems.train == 48
    task = task_of(study)
    longest = max(len(task.privileged_prompt(problem)) for problem in task.sources[0].problems)
    assert study.model.max_length == longest + study.train.max_response_tokens
    assert sum(len(task.problems(split)) for split in ("train", "development", "validation", "test")) > 50
    assert main(["plan", "mine.yaml"]) == 0
    assert main(["init", "mine", "--problems", "sums.csv", "--model", "model"]) == 2
    assert "mine.yaml: exists" in capsys.readouterr().err
    (folder / "odd.csv").write_text("Frage,Antwort\n" + "".join(f"{n} + 1?,{n + 1}\n" for n in range(40)))
    assert main(["init", "odd", "--problems", "odd.csv", "--model", "model"]) == 2
    assert "which column holds the problem? Name it, as in --columns problem=NAME" in capsys.readouterr().err
    named = ["--columns", "problem=Frage", "answer=Antwort"]
    assert main(["init", "odd", "--problems", "odd.csv", "--model", "model", *named]) == 0
    assert load_study("odd.yaml").task.hint == "answer"


@pytest.mark.slow
def test_from_a_file_to_a_report(folder):
    """Two commands train; the others test and report. No file is edited but to shorten the test."""

    def hdpo(*words: str) -> None:
        done = subprocess.run([sys.executable, "-m", "hdpo.cli", *words], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)

    hdpo("init", "mine", "--problems", "sums.csv", "--model", "model")
    text = (folder / "mine.yaml").read_text()
    for long, short in (("steps: 100", "steps: 2"), ("seeds: [1, 2, 3]", "seeds: [1, 2]"), ("every: 25", "every: 2")):
        assert long in text
        text = text.replace(long, short)
    (folder / "mine.yaml").write_text(text)
    runs = [(run, seed) for run in load_study("mine.yaml").runs for seed in (1, 2)]
    for run, seed in runs:
        hdpo("train", "mine.yaml", "--run", run, "--seed", str(seed))
    for run, seed in [("base", 0), *runs]:
        hdpo("evaluate", "mine.yaml", "--run", run, "--seed", str(seed))
    for stage in ("summary", "theory", "audit", "check", "tables", "figures", "statistics", "report"):
        hdpo(stage, "mine.yaml")
    assert (folder / "results/mine/report.pdf").read_bytes().startswith(b"%PDF")
