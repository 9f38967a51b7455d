"""Describes a study's problems before training: repeats, over-long prompts, lengths, and the prompts themselves."""

from typing import Any

import numpy as np

from hdpo.model.loading import load_tokenizer
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import write_json
from hdpo.tasks import SPLITS, Problem
from hdpo.tasks.written import WrittenTask

MEASURED = 2000  # we measure the lengths of this many problems from the beginning of a split


def write_data_survey(study: Study) -> None:
    """Measure the study's problems, print the outcome and write it to results/<study>/data.json.

    Raises:
        UserError: the task draws its problems itself, so there is no data set to measure.
    """
    task = study.task.load(study)
    if not isinstance(task, WrittenTask):
        raise UserError(f"task.name {study.task.name}: generates its problems, each once; there is no data to measure")
    found = survey(task)
    write_json(study.root / "data.json", found)
    print(_text(found))


def survey(task: WrittenTask) -> dict[str, Any]:
    """Rows, repeats, overlap with training, dropped prompts and lengths, as plain numbers."""
    splits: dict[str, dict[str, Any]] = {}
    training = task.splits["train"][1]
    for split in SPLITS:
        problems, twins = task.splits[split]
        splits[split] = {"problems": len(problems), "distinct": len(np.unique(twins))}
        splits[split]["tokens"] = _lengths(task, problems)
        if split != "train":
            splits[split]["also_in_training"] = int(np.isin(twins, training).sum())
    return {
        "task": task.config.model_dump(mode="json"),
        "rows": dict(zip(task.config.places, [len(source.problems) for source in task.sources], strict=True)),
        "prompt_limit": task.room,
        "splits": splits,
        "dropped": {part: {why: len(rows) for why, rows in task.dropped(part).items()} for part in task.parts},
    }


def _lengths(task: WrittenTask, problems: list[Problem]) -> dict[str, list[int]]:
    """Median, 95th percentile and maximum of the tokens of prompts and hints."""
    some = problems[:MEASURED]
    texts = {
        "student_prompt": [task.student_prompt(problem) for problem in some],
        "privileged_prompt": [task.privileged_prompt(problem) for problem in some],
        "hint": [problem.hint for problem in some],
    }
    return {
        name: np.percentile(task.lengths(found), [50, 95, 100]).round().astype(int).tolist()
        for name, found in texts.items()
    }


def _text(found: dict[str, Any]) -> str:
    lines = [f"{count} rows in {name}" for name, count in found["rows"].items()]
    for split, values in found["splits"].items():
        line = f"{split}: {values['problems']} problems, {values['distinct']} distinct"
        if split != "train":
            share = 100 * values["also_in_training"] / values["problems"]
            line += f", {values['also_in_training']} of them ({share:.1f} %) also in training"
        lengths = [f"{name.replace('_', ' ')} {' / '.join(map(str, n))}" for name, n in values["tokens"].items()]
        lines += [line, f"  tokens, median / 95 % / longest: {', '.join(lengths)}"]
    for part, dropped in found["dropped"].items():
        reasons = ", ".join(f"{n} {why.replace('_', ' ')}" for why, n in dropped.items() if n) or "none"
        lines.append(f"left out of the {part} part: {reasons} (prompt limit: {found['prompt_limit']} tokens)")
    return "\n".join(lines)


def print_prompts(study: Study, number: int) -> None:
    """Print what the student and the teacher are shown for one training problem, counted from 0, with token counts.

    Raises:
        UserError: there is no such problem.
    """
    task, tokenizer = study.task.load(study), load_tokenizer(study.base_path, study.model.revision)
    problems = task.problems("train")
    if number >= len(problems):
        raise UserError(f"--problem {number}: training problems are numbered 0 to {len(problems) - 1}")
    problem = problems[number]
    for role, prompt in (("student", task.student_prompt(problem)), ("teacher", task.privileged_prompt(problem))):
        tokens = len(tokenizer([prompt], add_special_tokens=False)["input_ids"][0])
        print(f"--- {role}, problem {number} ({problem.id}), {tokens} tokens\n{prompt}")
    if problem.answer:
        print(f"--- expected answer\n{problem.answer}")
