"""What the fault scripts share: a workplace with a tiny study, training in a process of its own, and fingerprints."""

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from hdpo.cli import main
from hdpo.study.study import Run, load_study
from helpers.steps import timeless
from helpers.studies import hdpo as hdpo_arm
from helpers.studies import write_study
from helpers.workflow import start_snakemake

# Long enough to be hit anywhere, short enough for hundreds of tries: a step takes some hundredths of a second.
STUDY = {
    "train__steps": 8,
    "train__checkpoint_every": 2,
    "train__prompts_per_step": 4,
    "evaluate__every": 4,
    "task__problems": {"train": 32, "development": 4, "validation": 4, "test": 8},
}
NAME = "hdpo-frozen-0.1"
ARMS = ["grpo", hdpo_arm("frozen")]


def row(fault: str, tries: int, survived: int, lost: str = "nothing") -> dict[str, Any]:
    return {"fault": fault, "tries": tries, "survived": survived, "lost": lost}


@cache
def base_model() -> Path:
    """A base model that solves some problems, so that steps have gradients and cliffs; trained once per process."""
    from hdpo.run.base_model import train_base

    folder = Path(mkdtemp(prefix="hdpo-torture-base-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    train_base(load_study(write_study(folder, pretrain__steps=200)), folder / "base")
    return folder / "base"


@contextlib.contextmanager
def workplace(within: str | None = None, **changes) -> Iterator[Path]:
    """A working directory with study.yaml: `STUDY` with `changes`."""
    torch.set_num_threads(1)
    folder = Path(mkdtemp(prefix="hdpo-torture-", dir=within))
    write_study(folder, **{"model__path": str(base_model())} | STUDY | changes)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def the_run(name: str = NAME, seed: int = 1) -> Run:
    return load_study("study.yaml").run(name, seed)


def train(name: str = NAME, prepare: Callable[[], Any] = lambda: None) -> int:
    """Process id of a fork that calls `prepare` and then is `hdpo train` of seed 1."""
    return hdpo(["train", "study.yaml", "--run", name, "--seed", "1"], prepare)


def hdpo(arguments: list[str], prepare: Callable[[], Any] = lambda: None) -> int:
    """Process id of a fork that calls `prepare` and then is the `hdpo` command; its output goes to output.txt."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        with open("output.txt", "ab", buffering=0) as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not what pytest has put there
        prepare()
        code = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def slow_steps(seconds: float) -> None:
    """In this process, every step takes so much longer."""
    from hdpo.learning.trainer import Trainer

    before = Trainer.step

    def step(self, now):
        time.sleep(seconds)
        return before(self, now)

    Trainer.step = step


def wait(process: int) -> int:
    """Exit code, or the negative number of the signal that ended the process."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def ended(process: int, seconds: float) -> int | None:
    """Like `wait`, None if the process is still at work after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    return None


def output() -> str:
    """What `train` printed since the last call."""
    path = Path("output.txt")
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def error_lines(text: str) -> list[str]:
    """Lines on stderr that are the program's own word, progress aside."""
    return [line for line in text.splitlines() if line.startswith("hdpo: ") or "Traceback" in line or "Error" in line]


def fingerprint(run: Run) -> dict[str, str]:
    """Hash of every byte that a finished run promises to repeat: timings and provenance aside."""
    return {
        "weights": _hash((run.folder / "model/model.safetensors").read_bytes()),
        "evals": _hash((run.folder / "evals.parquet").read_bytes()),
        "metrics": _hash("\n".join(steps(run.folder / "metrics.jsonl")).encode()),
    }


def steps(metrics: Path) -> list[str]:
    """The lines of a metrics file without their timings; a last line cut off by a kill is left out."""
    lines = []
    for line in metrics.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            lines.append(json.dumps(timeless(json.loads(line)), sort_keys=True))
    return lines


def uninterrupted(name: str = NAME, **changes) -> dict[str, str]:
    """Fingerprint of the run that nothing disturbed."""
    with workplace(**changes):
        assert wait(train(name)) == 0, output()
        return fingerprint(the_run(name))


def newest_step(run: Run) -> int:
    return max((int(path.name[5:]) for path in run.state_folder.glob("step-*")), default=0)


def snakemake(*arguments: str, study: str = "study.yaml", cores: int = 2) -> subprocess.Popen:
    """The plain command, in a process group of its own; what it prints is for `communicate`."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    return start_snakemake("--cores", str(cores), *arguments, "--config", f"study={study}", **options)


def kill_group(process: subprocess.Popen, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
