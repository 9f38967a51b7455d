"""Hashes that identify what a run was made from: configuration, weights and files."""

from functools import cache
from pathlib import Path
from typing import Any

from hdpo.system.errors import UserError
from hdpo.system.files import json_sha256, sha256


def content_hash(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of `value` as canonical JSON."""
    return json_sha256(value)[:12]


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
