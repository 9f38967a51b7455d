"""Hashes that identify what a run was made from: configuration, weights, files and code."""

from functools import cache
from pathlib import Path
from typing import Any

from hdpo.system.code import code_hash
from hdpo.system.errors import UserError
from hdpo.system.files import json_sha256, sha256

# What decides a run's weights, beside the modules of its method and of its task.
WEIGHT_CODE = (
    *("hdpo.methods", "hdpo.learning", "hdpo.model", "hdpo.sampling", "hdpo.tasks"),
    *("hdpo.system.rng", "hdpo.system.ranks", "hdpo.run.score"),
)


def content_hash(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of `value` as canonical JSON.

    Keys that are null, false or empty do not count: what they could turn on is off. So the schema can gain an optional
    key, and the hashes of earlier runs stay.
    """
    return json_sha256(_on(value))[:12]


def _on(value: Any) -> Any:
    if isinstance(value, dict):
        off = {key for key, item in value.items() if item is None or item is False or item in ((), [], {})}
        return {key: _on(item) for key, item in value.items() if key not in off}
    return [_on(item) for item in value] if isinstance(value, tuple | list) else value


@cache
def weights_hash(folder: Path) -> str:
    """First 12 hex digits over the SHA-256 of a folder's safetensors files; of nothing where there are none.

    Raises:
        UserError: one of them cannot be read.
    """
    try:
        return content_hash({path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))})
    except OSError as error:
        raise UserError(f"model.path {folder}: {error.filename or 'weights'}: {error.strerror}") from error


def files_hash(paths: list[Path]) -> str:
    """First 12 hex digits over the names and the SHA-256 of files.

    Raises:
        UserError: one of them cannot be read.
    """
    try:
        return content_hash([[path.name, _known_sha256(path.resolve(), path.stat().st_mtime_ns)] for path in paths])
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error


@cache
def _known_sha256(path: Path, changed: int) -> str:
    """Read large data files once per process, unless they change."""
    return sha256(path)


def training_code(method: type, task: type, trains_base: bool) -> str:
    """Hash of the code that decides a run's weights: comments, docstrings and layout do not count.

    With `trains_base`, the code that makes the study's base model is part of it.
    """
    start = ["hdpo.learning.trainer", "hdpo.run.score", *(["hdpo.run.base_model"] if trains_base else [])]
    own = [kind.__module__ for kind in (*method.__mro__, *task.__mro__)]
    own = [module for module in own if not module.startswith(("builtins", "abc", "pydantic", "hdpo.study."))]
    return code_hash(*start, *own, within=(*WEIGHT_CODE, *start, *map(_package, own)))


def evaluation_code(task: type) -> str:
    """Hash of the code that decides what a model answers and how it is scored."""
    module = task.__module__
    return code_hash("hdpo.run.evaluate", module, within=(*WEIGHT_CODE, "hdpo.run.evaluate", _package(module)))


def base_code() -> str:
    """Hash of the code that decides the weights of a base model that a study trains."""
    return code_hash("hdpo.run.base_model", within=(*WEIGHT_CODE, "hdpo.run.base_model"))


def _package(module: str) -> str:
    """A module of the kit itself; the whole package of any other."""
    return module if module.startswith("hdpo.") else module.split(".")[0]
