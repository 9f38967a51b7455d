"""Written problems made up for tests, a tokenizer of bytes, and a study on them."""

import json
import os
from pathlib import Path

import yaml

from hdpo.study.study import load_study
from hdpo.tasks.written import WrittenTask
from helpers.studies import ROOT, task_of, tiny

GSM8K = Path(os.environ.get("HDPO_GSM8K", ROOT.parent / "shared/data/gsm8k"))
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


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


def write_written(folder: Path, **changes) -> Path:
    """A study on data/train_1M.jsonl; changes as in `tiny`."""
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


def make_task(folder: Path, rows: list[dict] | None = None, **changes) -> WrittenTask:
    """The task of `write_study`, on `rows` if they are given."""
    if rows is not None:
        write_rows(folder / "data/train_1M.jsonl", rows)
    return task_of(load_study(write_written(folder, **changes)))


def numbers(task: WrittenTask, split: str) -> list[int]:
    """The row numbers of a split's problems."""
    return [int(problem.id.split("-")[1]) for problem in task.problems(split)]
