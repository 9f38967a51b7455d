"""Running Snakemake on the repository from a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

from helpers.studies import ROOT


def link_repository(folder: Path) -> None:
    """Link everything that the workflow reads into `folder`."""
    for name in ("Snakefile", "profiles", "paper", "hdpo", "config"):
        (folder / name).symlink_to(ROOT / name)


def snakemake(folder: Path, study: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", f"study={study}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def planned(done: subprocess.CompletedProcess) -> dict[str, int]:
    """Jobs per rule from a dry run's table."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.M)}
