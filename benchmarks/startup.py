"""How long it takes to start: `hdpo --help`, and a training process up to its first step."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.part import run_part
from benchmarks.side import STUDY
from hdpo.study.study import load_study
from hdpo.system.errors import UserError

HDPO = [sys.executable, "-m", "hdpo.cli"]
LARGEST = 15  # imports listed
TIMEOUT = 600.0  # seconds


def measure(quick: bool) -> dict[str, Any]:
    """Seconds of `hdpo --help` and to the first finished step of `hdpo train`, and what the imports take."""
    rounds = 1 if quick else 5
    base = str(Path(load_study(STUDY).base_path).resolve())
    helps = [seconds_of([*HDPO, "--help"]) for _ in range(rounds)]
    steps = [first_step(Path(), base) for _ in range(rounds)]
    imports = import_times("hdpo.run.train")
    return {
        "rows": [
            {"what": "hdpo --help", "seconds": statistics.median(helps), "all": helps},
            {"what": "hdpo train, first step done", "seconds": statistics.median(steps), "all": steps},
            {"what": "import hdpo.run.train", "seconds": imports[0]["seconds"] if imports else None, "all": []},
        ],
        "imports": imports[: LARGEST + 1],
    }


def first_step(checkout: Path, base: str, environment: Mapping[str, str] = os.environ) -> float:
    """Seconds from the start of `hdpo train` on the checkout's small world until its metrics file holds the first step.

    Includes the evaluation before step 0, with which every run starts. `base` is the folder of the base model.

    Raises:
        UserError: the process ended before, or took longer than `TIMEOUT`.
    """
    study = yaml.safe_load((checkout / STUDY).read_text(encoding="utf-8"))
    study["model"]["path"] = base
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        command = [*HDPO, "train", "study.yaml", "--run", "grpo", "--seed", "1"]
        began = time.perf_counter()
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            while not any(file.stat().st_size for file in folder.glob("results/*/state/*/metrics.jsonl")):
                if process.poll() is not None or time.perf_counter() - began > TIMEOUT:
                    lines = (folder / "log").read_text().strip().splitlines()
                    raise UserError(f"{checkout}: hdpo train wrote no step: {lines[-1] if lines else 'no output'}")
                time.sleep(0.01)
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()


def import_times(module: str) -> list[dict[str, Any]]:
    """Packages that `import module` loads: seconds of each with all it imports, and by itself; `module` first.

    A package counts where it is first imported, and not again for the next that imports it.
    """
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = parse_import_times(done.stderr)
    first = [row for row in rows if row["module"] == module]
    packages = [row for row in rows if "." not in row["module"] or row["module"].startswith("hdpo.")]
    return first + [row for row in sorted(packages, key=lambda row: -row["seconds"]) if row["module"] != module]


def parse_import_times(text: str) -> list[dict[str, Any]]:
    """Module, seconds with what it imports, and its own, from the output of `python -X importtime`."""
    rows = []
    for line in text.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            own, total, module = int(fields[0]), int(fields[1]), fields[2].strip()
            rows.append({"module": module, "seconds": total / 1e6, "own_seconds": own / 1e6})
    return rows


def seconds_of(command: list[str], **process: Any) -> float:
    """Wall seconds of a process; `process` are arguments of `subprocess.run`."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, **process)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(run_part("startup", measure))
