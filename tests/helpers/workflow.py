"""Running the repository's Snakefile from a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.studies import ROOT


def snakemake(folder: Path, study: str, *arguments: str, tools: str = "") -> subprocess.CompletedProcess:
    """The workflow of a study file, run to its end in `folder`."""
    command, environment = _invocation("--cores", "2", "--config", f"study={study}", *arguments, tools=tools)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def start_snakemake(*arguments: str, folder: Path = Path(), **options: Any) -> subprocess.Popen:
    """Snakemake at work in `folder`; options as of `subprocess.Popen`."""
    command, environment = _invocation(*arguments)
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **options)


def planned(done: subprocess.CompletedProcess) -> dict[str, int]:
    """Jobs per rule from a dry run's table."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.M)}


def _invocation(*arguments: str, tools: str = "") -> tuple[list[str], dict[str, str]]:
    """Command and environment; commands of jobs are looked for in `tools` first, then beside this Python."""
    path = os.pathsep.join(filter(None, [tools, str(Path(sys.executable).parent), os.environ["PATH"]]))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]  # a later one replaces it
    return [*command, *arguments], os.environ | {"OMP_NUM_THREADS": "1", "PATH": path}
