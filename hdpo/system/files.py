"""Files that are either whole or absent, checked by hash when they are read, and locked while a process owns them.

A file is written beside its place, synced and renamed; then the folder is synced. After a kill or a power cut you find
the old file or the new one.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from safetensors import SafetensorError

from hdpo.system.errors import UserError


def write_atomic(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Call `write` on a temporary sibling of `path`, file or folder, and move the result into place.

    Only one writer may be at work at a time: this removes what a killed writer left beside `path`.

    Raises:
        OSError: the disk is full, read-only or forbidden; names `path`. The old file is still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_folder(path.parent)
        for stale in path.parent.glob(f".{path.name}.*.tmp"):
            remove(stale)
        write(temporary)
        for file in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
            _sync(file)
        if temporary.is_dir():
            remove(path)
        os.replace(temporary, path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        number = re.search(r"os error (\d+)", str(error))  # safetensors gives it in its message only
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(int(number[1]) if number else getattr(error, "errno", None), reason, str(path)) from error
    finally:
        remove(temporary)


def write_json(path: str | Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: str | Path) -> Any:
    """Parsed JSON.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged or unreadable ({error})") from error


def write_record(path: Path, record: dict[str, Any], files: list[Path]) -> None:
    """Write `record` as JSON with the SHA-256 of `files`, all beside or below it, and of the record itself."""
    record = record | {"files": {str(file.relative_to(path.parent)): sha256(file) for file in sorted(files)}}
    write_json(path, record | {"sha256": json_sha256(record)})


def read_record(path: Path) -> dict[str, Any]:
    """A record, its own hash verified.

    Raises:
        UserError: missing, damaged or altered.
    """
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: damaged, expected a mapping")
    stated = record.pop("sha256", None)
    if stated is None or "files" not in record:
        raise UserError(f"{path}: states no hashes; this version writes them, so run again")
    if stated != json_sha256(record):
        raise UserError(f"{path}: altered since it was written (checksum); restore it, or delete it and run again")
    return record


def verify_files(path: Path, *names: str) -> None:
    """Compare files, named relative to the record at `path`, with the hashes in it; all of them if none is named.

    Raises:
        UserError: the record or a file is missing, damaged or altered.
    """
    stated = read_record(path)["files"]
    for name in names or sorted(stated):
        file = path.parent / name
        if name not in stated:
            raise UserError(f"{path}: states no hash of {name}; run again")
        if not file.is_file() or sha256(file) != stated[name]:
            raise UserError(
                f"{file}: missing, truncated or altered since {path.name} was written; restore it or run again"
            )


def json_sha256(value: Any) -> str:
    """SHA-256 of `value` as canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Create a folder and its parents so that they survive a power cut."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file or folder if it exists. A folder is renamed first, so that nobody sees it half removed."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not path.name.endswith(".tmp"):
        path = path.rename(path.with_name(f".{path.name}.{os.getpid()}.old.tmp"))
    shutil.rmtree(path)


def lock(path: Path, what: str) -> BaseFileLock:
    """Hold the lock file at `path` until the returned lock is released or this process ends, however it ends.

    A file system without locks gives no protection; a line on stderr says so.

    Raises:
        UserError: another process holds it; names that process.
    """
    make_folder(path.parent)
    held = FileLock(path, timeout=0.2, fallback_to_soft=False)  # a soft lock would outlive a killed owner
    try:
        held.acquire()
    except Timeout as error:
        owner = path.read_text(errors="replace")[:200].strip() or "another process"
        raise UserError(f"{what}: {owner} is working on it; wait for it or end it, then try again") from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and disk_error(error):
            raise
        print(f"hdpo: {path}: no locks here ({error}); start {what} only once", file=sys.stderr)
        return held
    with contextlib.suppress(OSError):  # the name only helps the reader; a full disk must not stop us here
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    return held


def disk_error(error: OSError) -> str | None:
    """What to tell the user about a full, read-only or forbidden disk; None for any other error."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if error.errno not in (*full, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
        return None
    advice = "free some space" if error.errno in full else "check its permissions"
    what = error.filename or "a file"
    return f"{what}: {os.strerror(error.errno)}; {advice} and run the same command again; nothing is lost"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
