"""`hdpo status`: which runs of a study are done, running, failed or left, and how long the rest takes."""

import fcntl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from hdpo.render.formats import duration
from hdpo.run.checkpoint import METRICS
from hdpo.study.study import Run, Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_record

STATES = ("done", "running", "failed", "left")


@dataclass(frozen=True)
class Job:
    """One training run: its state, the steps that are behind it, and the seconds of one step if it is done."""

    run: Run
    state: str
    step: int
    note: str = ""
    seconds_per_step: float | None = None


def print_status(study: Study) -> None:
    """Print a line for each run that is not done or left, the counts, and the time that remains.

    A run is failed if it has begun and no process works on it: it was stopped or went wrong. Training it again goes
    on from its last checkpoint.
    """
    jobs = [job_of(study.run(name, seed)) for name in study.runs for seed in study.seeds]
    for job in jobs:
        if job.state in ("running", "failed"):
            name, total = f"{job.run.name} seed {job.run.seed}", study.train.steps
            print(f"{job.state:<8} {name}: step {job.step} of {total}" + (f"; {job.note}" if job.note else ""))
    counts = Counter(job.state for job in jobs)
    shown = ", ".join(f"{counts[state]} {state}" for state in STATES)
    print(f"study {study.name}: {len(jobs)} runs: {shown}")
    print(remaining(jobs))


def job_of(run: Run) -> Job:
    """The state of one run, from its results, its checkpoints and its lock."""
    record_path, state = run.folder / "run.json", run.state_folder
    note = ""
    if record_path.is_file():
        try:
            record = read_record(record_path)
            if record.get("run_hash") == run.hash:
                steps = run.study.train.steps
                taken = max(1, steps - record.get("resumed_after_step", 0))
                return Job(run, "done", steps, seconds_per_step=record.get("seconds", 0.0) / taken)
            note = "the results there are of another configuration"
        except UserError as error:
            note = str(error)
    step = _steps(state / METRICS)
    if is_held(state / ".lock"):
        return Job(run, "running", step)
    if state.is_dir():
        return Job(run, "failed", step, _last_words(run) or note or "stopped")
    return Job(run, "left", 0, note)


def remaining(jobs: list[Job]) -> str:
    """One line on the time that remains, from the mean seconds of a step in finished runs of the same arm."""
    if all(job.state == "done" for job in jobs):
        return "nothing is left to train"
    known: dict[str, list[float]] = {}
    for job in jobs:
        if job.seconds_per_step:
            known.setdefault(job.run.name, []).append(job.seconds_per_step)
    if not known:
        return "time that remains: unknown until a run is done"
    overall = mean(mean(values) for values in known.values())
    seconds = sum(
        (job.run.study.train.steps - job.step) * (mean(known[job.run.name]) if job.run.name in known else overall)
        for job in jobs
        if job.state != "done"
    )
    at_once = max(1, sum(job.state == "running" for job in jobs))
    each = f", {duration(seconds / at_once)} with {at_once} at a time" if at_once > 1 else ""
    return f"time that remains for training: {duration(seconds)}{each}"


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file at `path`, which stays as it is."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file gives it back
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a file system without locks
        return False
    return False


def _steps(metrics: Path) -> int:
    return metrics.read_bytes().count(b"\n") if metrics.is_file() else 0


def _last_words(run: Run) -> str:
    """The last line of the command's own in the workflow's log of a run; "" where there is none."""
    path = run.study.root / "logs" / f"train-{run.name}-seed{run.seed}.log"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    said = [line for line in text.splitlines() if line.startswith("hdpo: ")]
    return str(UserError(said[-1].removeprefix("hdpo: "))) if said else ""
