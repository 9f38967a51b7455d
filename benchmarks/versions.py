"""This version of the kit beside another checkout's, in turns: steps, their phases, and starts.

Both use this checkout's base model and one thread. The other checkout may be version 0.1.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.part import run_part
from benchmarks.side import CASES, STUDY, study_module
from benchmarks.startup import HDPO, first_step, seconds_of
from benchmarks.timing import alternate
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from hdpo.system.provenance import git

CLIFFS = 0.4  # of the prompts
HERE = Path(__file__).parents[1]


def measure(quick: bool, other: str) -> dict[str, Any]:
    """Ratio of the seconds of this version and another checkout's; below 1, this version is faster."""
    checkouts = {"new": HERE, "old": Path(other).resolve()}
    if not (checkouts["old"] / "hdpo/cli.py").is_file() or not (checkouts["old"] / STUDY).is_file():
        raise UserError(f"{other}: no checkout of the kit, with hdpo/cli.py and {STUDY}")
    small = load_study(HERE / STUDY)
    base = str((HERE / small.base_path).resolve())
    cliffs = round(CLIFFS * small.train.prompts_per_step)
    rounds: list[dict[str, dict[str, float]]] = []  # of each quantity the seconds of both
    tokens: dict[str, float] = {}
    for turn in range(1 if quick else 7):
        order = list(checkouts.items())[:: -1 if turn % 2 else 1]
        records = take_steps(dict(order), base, cliffs, steps=2 if quick else 12)
        tokens = {name: median(record["tokens"]["rollout"] for record in records[name]["GRPO"]) for name in checkouts}
        found = {name: step_seconds(records[name]) for name in checkouts}
        starts = {name: starters(checkout, base) for name, checkout in order}
        cases = {(name, what): starts[name][what] for what in starts["new"] for name in starts}
        for (name, what), [seconds] in alternate(cases, rounds=1, warmup=0 if turn else 1).items():
            found[name][what] = seconds
        rounds.append({what: {name: found[name][what] for name in checkouts} for what in found["new"]})
    return {
        "rows": [compare(what, [row[what] for row in rounds]) for what in rounds[0]],
        "rounds": len(rounds),
        "cliffs": cliffs,
        "tokens": tokens,  # drawn in a step, to see that both do the same work
        "commits": {name: git("rev-parse", "HEAD", folder=checkout) for name, checkout in checkouts.items()},
    }


def take_steps(checkouts: dict[str, Path], base: str, cliffs: int, steps: int) -> dict[str, dict[str, list[dict]]]:
    """Records of `steps` steps of each case by each version: a process each, which take every step in turns."""
    records: dict[str, dict[str, list[dict]]] = {name: {case: [] for case in CASES} for name in checkouts}
    side = [sys.executable, "-P", Path(__file__).with_name("side.py"), base, str(cliffs)]
    processes = {
        name: subprocess.Popen(
            side,
            cwd=checkout,
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, checkout in checkouts.items()
    }

    def take(name: str, case: str) -> None:
        process = processes[name]
        try:
            print(case, file=process.stdin, flush=True)
            records[name][case].append(json.loads(process.stdout.readline()))
        except (BrokenPipeError, ValueError) as error:
            lines = process.communicate()[1].strip().splitlines()
            raise UserError(f"{checkouts[name]}: {lines[-1] if lines else 'ended without a word'}") from error

    try:
        alternate({f"{name} {case}": partial(take, name, case) for case in CASES for name in checkouts}, steps)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return {name: {case: taken[1:] for case, taken in cases.items()} for name, cases in records.items()}  # warm-up


def step_seconds(records: dict[str, list[dict]]) -> dict[str, float]:
    """Median seconds of steps and phases, and what HDPO adds to GRPO on the same rollouts and rewards."""

    def seconds(case: str, phase: str = "total") -> list[float]:
        return [record["seconds"][phase] for record in records[case]]

    pairs = zip(seconds("HDPO on cliffs"), seconds("GRPO on cliffs"), strict=True)
    return {
        "GRPO step": median(seconds("GRPO")),
        "its rollouts": median(seconds("GRPO", "rollout")),
        "its update": median(seconds("GRPO", "update")),
        "HDPO step on cliffs": median(seconds("HDPO on cliffs")),
        "what HDPO adds to GRPO there": median(hdpo - grpo for hdpo, grpo in pairs),
    }


def starters(checkout: Path, base: str) -> dict[str, Callable[[], Any]]:
    """What starts a process of this version and returns its seconds."""
    ended = partial(seconds_of, cwd=checkout, env=environment(checkout))
    return {
        "start to the first step": partial(first_step, checkout, base, environment(checkout)),
        "hdpo --help": partial(ended, [*HDPO, "--help"]),
        "import of the study": partial(ended, [sys.executable, "-c", f"import {study_module(checkout)}"]),
    }


def environment(checkout: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}


def compare(what: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Median seconds of both versions, and median and range of new/old over the rounds."""
    ratios = [row["new"] / row["old"] for row in rounds]
    seconds = {f"{name}_s": median(row[name] for row in rounds) for name in ("new", "old")}
    return {"what": what} | seconds | {"ratio": median(ratios), "low": min(ratios), "high": max(ratios)}


if __name__ == "__main__":
    sys.exit(run_part("versions", measure, wants=("other",)))
