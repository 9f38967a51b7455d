"""The tiny study on Countdown that most tests use."""

import copy
from pathlib import Path

import yaml

from hdpo.study.study import Study
from hdpo.tasks import Task

ROOT = Path(__file__).parents[2]


def tiny(**changes) -> dict:
    """The smoke study as a plain dict; `changes` by dotted key written with __, as train__steps=3.

    Parameters of a method need no change of the study: name a run, such as `grpo+clip=0.3`.
    """
    study = copy.deepcopy(yaml.safe_load((ROOT / "config/smoke.yaml").read_text()))
    for key, value in changes.items():
        section = study
        *path, last = key.split("__")
        for part in path:
            section = section[part]
        section[last] = value
    return study


def hdpo(teacher: str | list[str] = "frozen", distill_weight: float | list[float] = 0.1, **others) -> dict:
    """An entry of `methods`; a list sweeps its parameter."""
    return {"method": "hdpo", "teacher": teacher, "distill_weight": distill_weight} | others


def write_study(folder: Path, **changes) -> Path:
    """Write the tiny study with `changes` to `folder`/study.yaml and return that path."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(tiny(**changes), sort_keys=False))
    return path


def task_of(study: Study) -> Task:
    """The study's task, loaded."""
    return study.task.load(study)
