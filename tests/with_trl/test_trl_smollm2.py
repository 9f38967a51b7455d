"""A real pretrained model in TRL: SmolLM2-135M-Instruct on simple word problems, and resuming from a checkpoint.

Optional, as in tests/run/test_smollm2.py: `pytest -m pretrained -s tests/with_trl` where TRL is installed.
"""

import csv

import pytest
import torch

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from hdpo.tasks import Verdict
from hdpo.tasks.verifiers import numeric
from hdpo.trl import HDPOConfig, HDPOTrainer
from helpers.smollm2 import MISSING, keep, save_model, trl_table
from helpers.word_problems import write_word_problems

STEPS, SAVED = 4, 2

pytestmark = [
    pytest.mark.pretrained,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def right(completions, answer, **_) -> list[float]:
    """1 where the last number of a response is the answer."""
    texts = [completion[-1]["content"] for completion in completions]
    return [float(numeric(key, text, 1e-6) == Verdict.CORRECT) for text, key in zip(texts, answer, strict=True)]


def problems(path) -> Dataset:
    write_word_problems(path)
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ask = [[{"role": "user", "content": row["question"]}] for row in rows]
    columns = {"hint": [row["solution"] for row in rows], "answer": [row["answer"] for row in rows]}
    return Dataset.from_dict({"prompt": ask} | columns)


def test_word_problems_are_trained_on_and_a_stopped_run_goes_on(tmp_path):
    save_model(tmp_path / "model")
    data = problems(tmp_path / "words.csv")

    def train(checkpoint: str | None = None) -> HDPOTrainer:
        args = HDPOConfig(
            str(tmp_path / "out"),
            distill_weight=0.1,
            hint_template="{prompt} The right answer: {hint}",
            num_generations=4,
            per_device_train_batch_size=8,
            max_completion_length=24,
            loss_type="dapo",
            learning_rate=3e-5,
            lr_scheduler_type="constant",
            max_steps=STEPS,
            save_steps=SAVED,
            logging_steps=1,
            log_completions=True,
            num_completions_to_print=4,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            dataloader_pin_memory=False,
            report_to=[],
        )
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", padding_side="left")
        trainer = HDPOTrainer(model, right, args, data, processing_class=tokenizer)
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer

    whole = train()
    logs = [entry for entry in whole.state.log_history if "reward" in entry]
    weights = {name: value.clone() for name, value in whole.model.state_dict().items()}
    names = ("reward", "hdpo/cliffs", "hdpo/privileged_pass_rate", "hdpo/kept", "hdpo/tokens", "hdpo/jsd", "grad_norm")
    rows = [{name: entry.get(name) for name in ("step", *names)} for entry in logs]
    keep("trl", rows, trl_table(rows))
    assert sum(entry["hdpo/kept"] for entry in logs) > 0
    resumed = train(str(tmp_path / f"out/checkpoint-{SAVED}"))
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())
