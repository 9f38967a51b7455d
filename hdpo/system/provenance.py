"""What produced a result: versions, processor, commit."""

import platform
import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "numpy", "snakemake")  # stated where they are installed
OUTPUT = ("results/bench", "results/torture")  # tracked; writing there does not make the tree dirty


def provenance() -> dict[str, Any]:
    """Versions, hardware, thread count, commit and whether the tree was dirty, start time (UTC)."""
    import torch

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--", ":/", *(f":(top,exclude){path}" for path in OUTPUT))),
    }


def processor() -> str:
    """The processor's name, and its family and model: a virtual machine may hide the generation in the name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    name, family, model = (
        re.search(rf"^{key}\s*:\s*(.+?)\s*$", text, re.M) for key in ("model name", "cpu family", "model")
    )
    if not name:
        return platform.processor() or platform.machine()
    return name[1] + (f" (family {family[1]}, model {model[1]})" if family and model else "")


def git(*arguments: str, folder: Path = Path(__file__).parent) -> str | None:
    """Output of git on the source tree or on another folder's, None outside a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
