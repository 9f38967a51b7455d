"""A study file before it is validated: read on top of what it extends, an old form refused, its places found."""

import os
from pathlib import Path
from typing import Any

from hdpo.study.plain_yaml import read_yaml
from hdpo.system.errors import UserError

KEYS = {
    "sweep": "list the runs under `methods`",
    "distill": "move its keys to the hdpo entry of `methods`, and offload_teacher to `hardware`",
}
PLACES = {"model": ("path",), "task": ("path", "templates"), "files": ("train", "test")}
TRAIN_KEYS = ("clip", "importance_cap", "baseline", "normalize_advantages")


def read_study(path: Path) -> dict[str, Any]:
    """A study file's content, on top of that of the file that its key `extends` names, beside it.

    Within a section, each key replaces the extended file's key as a whole; so does the list of methods.

    Raises:
        UserError: a file cannot be read, is no mapping, or extends one that extends another.
    """
    raw = _mapping(path)
    place = raw.pop("extends", None)
    if place is None:
        return raw
    if not isinstance(place, str) or not place:
        raise UserError(f"config {path}: extends: expected the name of a study file beside this one")
    base = _mapping(Path(os.path.normpath(path.parent / place)))  # its own folders, and no ".."
    if "extends" in base:
        raise UserError(f"config {path}: extends: {place} extends another file itself; name that one, or write it out")
    for key, value in raw.items():
        section = base.get(key)
        base[key] = section | value if isinstance(section, dict) and isinstance(value, dict) else value
    return base


def _mapping(path: Path) -> dict[str, Any]:
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(f"config {path}: expected a mapping of sections, as in config/small.yaml")
    refuse_old_form(path, raw)
    find_places(raw, path)
    return raw


def refuse_old_form(path: str | Path, raw: dict[str, Any]) -> None:
    """Say in one line how a study file of version 0.1 must change."""
    train = raw.get("train")
    moved = [key for key in TRAIN_KEYS if isinstance(train, dict) and key in train]
    for key, change in KEYS.items():
        if key in raw:
            raise UserError(f"config {path}: {key}: is of the old form; {change}, as in config/small.yaml")
    if moved:
        raise UserError(f"config {path}: train.{moved[0]}: is now a parameter of grpo and hdpo; move it to `methods`")


def find_places(raw: dict[str, Any], study: Path) -> None:
    """Make relative places absolute that lie beside the study file, or in the folder above it, and not here.

    So a study file can be used from any folder. A place in the working folder comes first and stays as it is written.
    """
    task = raw.get("task")
    files = task.get("files") if isinstance(task, dict) and not task.get("path") else None  # with a path: in it
    for name, section in (*raw.items(), ("files", files)):
        for key in PLACES.get(name, ()) if isinstance(section, dict) else ():
            place = section.get(key)
            if isinstance(place, str) and place and not os.path.exists(place):  # unlike Path, never raises
                beside = [folder / place for folder in (study.parent, study.parent.parent)]
                section[key] = next((str(found.resolve()) for found in beside if os.path.exists(found)), place)
