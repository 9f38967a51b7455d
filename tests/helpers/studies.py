"""The tiny study on Countdown that most tests use."""

import copy
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def tiny(**changes) -> dict:
    """The smoke study as a plain dict; `changes` by dotted key written with __, as train__steps=3."""
    study = copy.deepcopy(yaml.safe_load((ROOT / "config/smoke.yaml").read_text()))
    for key, value in changes.items():
        section = study
        *path, last = key.split("__")
        for part in path:
            section = section[part]
        section[last] = value
    return study


def write_study(folder: Path, **changes) -> Path:
    """Write the tiny study with `changes` to `folder`/study.yaml and return that path."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(tiny(**changes)))
    return path
