"""`hdpo init`: a study file that fits a model, a file of problems and this machine."""

import json
import os
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import ValidationError

from hdpo.plan.memory import memory, require_memory
from hdpo.plan.shape import study_shape
from hdpo.plan.workload import assumptions, extremes, workload
from hdpo.study.schema import as_tuples, first_problem
from hdpo.study.study import Study, load_study
from hdpo.system.errors import UserError
from hdpo.system.files import read_json, write_atomic
from hdpo.tasks.rows import FITS, load_table
from hdpo.tasks.verifiers import number
from hdpo.tasks.written import WrittenTask

TEMPLATE = Path(__file__).with_suffix(".yaml")
GUESSES = {  # what published data sets call these columns
    "problem": ("problem", "question", "prompt", "query", "instruction", "input"),
    "answer": ("expected_answer", "final_answer", "answer", "target", "label", "output", "result"),
    "solution": ("generated_solution", "solution", "explanation", "rationale", "reasoning", "worked_solution"),
    "id": ("id", "problem_id", "uid"),
}
MEASURED = 2000  # problems whose prompts we measure
SMALL = 5e8  # parameters, below which a model bears a larger learning rate
# Settings that fit until the problems are measured.
FIRST: dict[str, Any] = {
    "train": 1,
    "development": 1,
    "validation": 1,
    "test": 1,
    "prompts": 1,
    "length": 10**6,
    "response": 1,
}
FIRST |= {"rows": 0, "reward": "exact", "why": "", "response_why": "", "longest": 0, "rate": "1.0e-6"}
FIRST |= {"micro": 1, "checkpointing": "false", "needed": 0, "available": 0}


def write_first_study(name: str, problems: str, model: str, columns: dict[str, str]) -> None:
    """Write `<name>.yaml` here and print what was found and what to do next.

    Raises:
        UserError: the file exists, the problems or the model cannot be used, or the memory is too small.
    """
    path = Path(f"{name}.yaml")
    if path.exists():
        raise UserError(f"{path}: exists; choose another name, or remove it")
    values = FIRST | {"name": name, "problems": problems, "model": model}
    values |= {"file": json.dumps(problems), "folder": json.dumps(model)}
    values |= _columns(problems, columns) | _machine()
    task = _study(values).task.load(_study(values))
    assert isinstance(task, WrittenTask)
    values |= _problems(task, values["gpus"] > 0)
    values |= _lengths(task, Path(model) / "config.json")
    values |= _memory(values)
    write_atomic(path, lambda out: out.write_text(_text(values), encoding="utf-8"))
    run = load_study(path).runs[-1]
    print(
        f"{path}: columns {values['columns']}, {values['rows']} rows, verifier {values['reward']},"
        f" prompts of up to {values['longest']} tokens, about {values['needed']} GB of memory\n"
        f"Next: hdpo train {path} --run {run} --seed 1\n"
        f"Also: hdpo plan {path}; hdpo prompts {path}; hdpo evaluate {path} --run {run} --seed 1"
    )


def _text(values: dict[str, Any]) -> str:
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def _study(values: dict[str, Any]) -> Study:
    try:
        return Study.model_validate(as_tuples(yaml.safe_load(_text(values))))
    except ValidationError as error:
        raise UserError(f"init: {first_problem(error)}") from error


def _columns(problems: str, stated: dict[str, str]) -> dict[str, Any]:
    names, _ = load_table(Path(problems), [])
    found = dict(stated)
    for key, guesses in GUESSES.items():
        free = [name for guess in guesses for name in names if name.casefold() == guess and name not in found.values()]
        if key not in found and free:
            found[key] = free[0]
        if key not in found and key in ("problem", "answer"):
            raise UserError(
                f"{problems}: which column holds the {key}? Name it, as in --columns {key}=NAME;"
                f" its columns: {', '.join(names)}"
            )
    hint = "solution" if "solution" in found else "answer"
    return {"columns": json.dumps(found), "names": ", ".join(names), "hint": hint}


def _machine() -> dict[str, Any]:
    has_gpu, cores = torch.cuda.is_available(), len(os.sched_getaffinity(0))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    return {
        "gpus": int(has_gpu),
        "dtype": "bfloat16" if has_gpu else "float32",
        "backend": "vllm" if has_gpu and find_spec("vllm") else "transformers",
        "threads": min(cores, 8) if has_gpu else cores,
        "memory": int(0.8 * total),
    }


def _problems(task: WrittenTask, has_gpu: bool) -> dict[str, Any]:
    """Sizes of the splits, and the verifier that suits the answers. An eighth of the held-out rows stays unused."""
    source = task.sources[0]
    train, held = (int((source.reasons[task.parts[part][1]] == FITS).sum()) for part in ("train", "held_out"))
    usable = [problem for problem, why in zip(source.problems, source.reasons, strict=True) if why == FITS]
    reward, why = "exact", "other answers than numbers, and math-verify is not installed"
    if all(number(problem.answer) is not None for problem in usable):
        reward, why = "numeric", "every answer is a number"
    elif find_spec("math_verify"):
        reward, why = "hf_math_verify", "some answers are no plain numbers"
    splits = {"test": min(512, held // 2), "validation": min(128, held // 4), "development": min(64, held // 8)}
    splits = {split: max(1, size) for split, size in splits.items()} | {"rows": train + held, "train": train}
    return splits | {"prompts": min(train, 16 if has_gpu else 8), "reward": reward, "why": why}


def _lengths(task: WrittenTask, config: Path) -> dict[str, Any]:
    """Room for the longest prompt, and for responses of twice the length of most solutions."""
    source = task.sources[0]
    some = [problem for problem, why in zip(source.problems, source.reasons, strict=True) if why == FITS][:MEASURED]
    longest = max(task.lengths([task.privileged_prompt(problem) for problem in some]))
    response, why = 256, "the file has no solutions to measure"
    if task.config.hint == "solution":
        common = int(np.percentile(task.lengths([problem.hint for problem in some]), 95))
        response, why = min(1024, max(64, 2 * common)), f"19 in 20 solutions have at most {common} tokens"
    limit = read_json(config).get("max_position_embeddings", 2**31) if config.is_file() else 2**31
    response = min(response, limit - longest)
    if response < 16:
        raise UserError(f"the longest prompt has {longest} tokens, and the model reads {limit}; shorten the problems")
    return {"longest": longest, "length": longest + response, "response": response, "response_why": why}


def _memory(values: dict[str, Any]) -> dict[str, Any]:
    """The largest micro-batch that fits, with gradient checkpointing only where nothing fits without it."""
    on_gpu = values["gpus"] > 0
    where = torch.cuda.get_device_properties(0) if on_gpu else None
    total, name = (where.total_memory, where.name) if where else (1e6 * values["memory"], "this machine")
    sizes = [size for size in (16384, 8192, 4096, 2048, 1024) if size <= (16384 if on_gpu else 4096)]
    for checkpointing, micro in product(("false", "true"), sizes):
        found = {"checkpointing": checkpointing, "micro": max(micro, values["length"])}
        study = _study(values | found)
        shape = study_shape(study)
        plan = memory(
            study, shape, workload(study, assumptions(study, "high"), extremes(study)[-1]), on_gpu, total, name
        )
        if plan.fits:
            break
    require_memory(plan, study)
    found |= {"needed": f"{plan.needed / 1e9:.1f}", "available": f"{plan.available / 1e9:.1f}"}
    return found | {"rate": "1.0e-5" if shape.parameters < SMALL else "1.0e-6"}
