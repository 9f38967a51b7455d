"""How time and memory of a GRPO step grow with its sizes, and the workflow's plan with the number of runs."""

import dataclasses
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import linregress

from benchmarks.part import run_part, still_study
from benchmarks.phases import NO_END, update
from benchmarks.side import STUDY
from benchmarks.workload import Size, write_study
from hdpo.learning.metrics import StepLog
from hdpo.learning.trainer import Trainer
from hdpo.model.small import decoder
from hdpo.study.study import load_study
from hdpo.system.errors import UserError

MIDDLE = Size("middle", hidden=96, layers=4, heads=4, prompts=8, group=16)  # the small world's shape, random weights
LENGTH = 24
# Axis: the sizes, each a change to `MIDDLE` or to the response length.
AXES: dict[str, list[dict[str, int]]] = {
    "rollouts per prompt": [{"group": group} for group in (8, 16, 32, 64)],
    "response length": [{"length": length} for length in (6, 12, 24, 48)],
    "parameters": [{"hidden": hidden} for hidden in (64, 128, 256, 512)],
    "vocabulary": [{"vocabulary": size} for size in (1_000, 4_000, 16_000, 64_000)],
}
SWEEPS = (100, 300, 1000)  # runs


def measure(quick: bool) -> dict[str, Any]:
    """Seconds and peak memory of rollouts and update along each axis, with exponents fitted on a log-log scale."""
    rows, fits = [], []
    for axis, changes in AXES.items():
        points = [measure_point(axis, 1 if quick else 4, **change) for change in changes[: 2 if quick else 4]]
        rows += points
        sizes = [point["size"] for point in points]
        for quantity in ("rollout_s", "rollout_linear_s", "update_s", "peak_mb"):
            values = [point[quantity] for point in points]
            if None not in values:
                fits.append({"axis": axis, "quantity": quantity} | power_law(sizes, values))
    sweeps = [plan_sweep(runs) for runs in (SWEEPS[:1] if quick else SWEEPS)]
    if len(sweeps) > 1:
        runs, seconds = [sweep["runs"] for sweep in sweeps], [sweep["seconds"] for sweep in sweeps]
        fits.append({"axis": "runs in the sweep", "quantity": "dry_run_s"} | power_law(runs, seconds))
    return {"rows": rows, "fits": fits, "sweeps": sweeps}


def measure_point(axis: str, rounds: int, length: int = LENGTH, **change: int) -> dict[str, Any]:
    """One size on an axis, in a process of its own: it does not find the memory that the point before left behind."""
    size = dataclasses.replace(MIDDLE, **change)
    with tempfile.TemporaryDirectory() as folder:
        path = write_study(size, Path(folder), max_response_tokens=length)
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            found = pool.submit(measure_study, path, rounds).result()
    sizes = {
        "rollouts per prompt": size.group,
        "response length": length,
        "parameters": found.pop("parameters"),
        "vocabulary": size.vocabulary,
    }
    return {"axis": axis, "size": sizes[axis]} | found


def measure_study(path: Path, rounds: int) -> dict[str, Any]:
    """Median seconds of rollouts and of an update with all of them, and peak memory above the idle process.

    `rollout_linear_s` leaves out attention, the one part whose work per token grows with the tokens before it.
    """
    study = still_study(load_study(path))
    trainer = Trainer(study.run(study.runs[0], 1))
    trainer.sampler.eos = NO_END
    count, group = trainer.settings.prompts_per_step, trainer.settings.rollouts_per_prompt
    problems = [problem for problem in trainer.problems if problem.difficulty == 3][:count]  # prompts of one length
    advantages = torch.tensor([1.0, -1.0]).repeat(count, group // 2)  # all rows are trained
    times: dict[str, list[float]] = {"rollout": [], "rollout_linear": [], "update": []}
    attention = AttentionTimer()
    idle = reset_peak()
    for turn in range(rounds + 1):
        trainer.t, trainer.log = turn, StepLog()
        began, attention.seconds = time.perf_counter(), 0.0
        rollouts = trainer.sample(problems)
        sampled, attending = time.perf_counter(), attention.seconds
        update(trainer, rollouts, advantages)
        if turn:  # the first is warm-up
            times["rollout"].append(sampled - began)
            times["rollout_linear"].append(sampled - began - attending)
            times["update"].append(time.perf_counter() - sampled)
    peak = peak_memory()
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.policy.parameters()),
        "tokens": len(rollouts.logp),
        **{f"{name}_s": statistics.median(seconds) for name, seconds in times.items()},
        "peak_mb": None if peak is None or idle is None else max(peak - idle, 0.1),  # its logarithm is fitted
    }


class AttentionTimer:
    """Wall seconds inside the decoder's `attention`, for the rest of this process."""

    def __init__(self) -> None:
        self.seconds, self.attention = 0.0, decoder.attention
        decoder.attention = self

    def __call__(self, *arguments: torch.Tensor | None) -> torch.Tensor:
        began = time.perf_counter()
        mixed = self.attention(*arguments)
        self.seconds += time.perf_counter() - began
        return mixed


def power_law(sizes: list[float], values: list[float]) -> dict[str, float | None]:
    """Least squares of log value on log size: the exponent, its standard error (None for two points), R²."""
    fit = linregress(np.log(sizes), np.log(values))
    error = float(fit.stderr) if len(sizes) > 2 else None
    return {"exponent": float(fit.slope), "standard_error": error, "r_squared": float(fit.rvalue**2)}


def plan_sweep(runs: int) -> dict[str, Any]:
    """Seconds of Snakemake's dry run of the small world with at least `runs` training runs.

    Raises:
        UserError: the dry run failed, or this is not the source tree.
    """
    if not Path("Snakefile").is_file():
        raise UserError("Snakefile: not here; run the benchmark from the source tree")
    study = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    per_seed = len(load_study(STUDY).runs)
    seeds = -(-runs // per_seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        # Nothing was run under this name, so every job is planned.
        path.write_text(yaml.safe_dump(study | {"name": "bench-sweep", "seeds": list(range(1, seeds + 1))}))
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--cores", "2"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--config", f"study={path}"], capture_output=True, text=True, env=os.environ, check=False
        )
        seconds = time.perf_counter() - began
    planned = re.search(r"^train\s+(\d+)$", done.stdout + done.stderr, re.M)
    if done.returncode or planned is None or int(planned[1]) != seeds * per_seed:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UserError(f"dry run of {seeds * per_seed} runs failed: {lines[-1] if lines else 'no output'}")
    return {"runs": seeds * per_seed, "seconds": seconds}


def reset_peak() -> float | None:
    """Forget the process's peak memory and return its present one in MB; None where the kernel does not keep it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_memory()


def peak_memory() -> float | None:
    """Peak resident memory since `reset_peak`, MB (VmHWM)."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


if __name__ == "__main__":
    sys.exit(run_part("growth", measure))
