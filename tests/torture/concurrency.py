"""Two at once: the second is refused in one line, and a dead owner blocks nobody."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from hdpo.study.study import Run, load_study
from torture.victims import (
    ARMS,
    NAME,
    error_lines,
    fingerprint,
    kill_group,
    newest_step,
    output,
    row,
    slow_steps,
    snakemake,
    the_run,
    train,
    uninterrupted,
    wait,
    workplace,
)

MANY = {"train__steps": 400, "train__checkpoint_every": 5, "evaluate__every": 400, "methods": ARMS}


def run(quick: bool) -> list[dict]:
    expected = uninterrupted()
    rows = [two_trainers(1 if quick else 20), stale_trainer_lock(1 if quick else 10, expected)]
    return rows if quick else [*rows, *two_workflows(5), other_study()]


def two_trainers(tries: int) -> dict:
    """A second `hdpo train` of a run at work: exit code 2, one line that names the owner, nothing changed."""
    bad = []
    for _ in range(tries):
        with workplace():
            first = train(prepare=lambda: slow_steps(0.5))
            _wait_for(the_run().state_folder / "metrics.jsonl")
            output()
            code, said = wait(train()), error_lines(output())
            if code != 2 or len(said) != 1 or f"process {first} on" not in said[0]:
                bad.append(f"exit code {code}, {said}")
            if wait(first):
                bad.append(f"the first was disturbed: {output()[-200:]}")
    return _row("a second trainer on one run", tries, bad)


def stale_trainer_lock(tries: int, expected: dict[str, str]) -> dict:
    """The owner of the lock is killed: the next one starts at once."""
    bad = []
    for _ in range(tries):
        with workplace():
            first = train(prepare=lambda: slow_steps(0.2))
            _wait_for(the_run().state_folder / "metrics.jsonl")
            os.kill(first, signal.SIGKILL)
            wait(first)
            if wait(train()) or fingerprint(the_run()) != expected:
                bad.append(output()[-200:])
    return _row("a trainer's lock whose owner was killed", tries, bad)


def two_workflows(tries: int) -> list[dict]:
    """A second plain `snakemake` beside one at work; then the first is killed, and the plain command goes on."""
    refused, stale = [], []
    for _ in range(tries):
        with workplace(**MANY):
            run = the_run(NAME)
            first = snakemake(str(run.folder / "run.json"))
            _wait_for(run.state_folder / "metrics.jsonl")
            before = _names(Path("results"), run)
            second = snakemake("all")
            said = second.communicate(timeout=60)[0]
            lines = error_lines(said)
            if second.returncode == 0 or len(lines) != 1 or f"process {first.pid} on" not in lines[0]:
                refused.append(f"exit code {second.returncode}: {said[-300:]}")
            if _names(Path("results"), run) != before:
                refused.append("the second changed results")
            dry = snakemake("all", "--dry-run")
            refused += ["a dry run is refused" for _ in [1] if dry.communicate(timeout=60) and dry.returncode]
            if first.poll() is not None:
                refused.append(f"the first ended: {first.communicate()[0][-300:]}")
            done = newest_step(run)
            kill_group(first)
            first.communicate()
            again = snakemake(str(run.folder / "run.json"))
            _wait_until(lambda run=run, done=done, again=again: newest_step(run) > done or again.poll() is not None)
            kill_group(again, signal.SIGINT)
            said = again.communicate(timeout=60)[0]
            if newest_step(run) <= done or "LockException" in said:
                stale.append(said[-300:])
    return [
        _row("a second workflow on one study", tries, refused),
        _row("a workflow's lock whose owner was killed", tries, stale),
    ]


def other_study() -> dict:
    """Two studies of one folder at the same time: both go through."""
    with workplace(**MANY | {"train__steps": 40}):
        Path("other.yaml").write_text(Path("study.yaml").read_text().replace("name: smoke", "name: other"))
        run = the_run("grpo")
        other = load_study("other.yaml").run("grpo", 1)
        first = snakemake(str(run.folder / "run.json"), cores=1)
        second = snakemake(str(other.folder / "run.json"), study="other.yaml", cores=1)
        said = [process.communicate(timeout=250)[0] for process in (first, second)]
        bad = [text[-300:] for text, process in zip(said, (first, second), strict=True) if process.returncode]
        if not bad and fingerprint(run) != fingerprint(other):
            bad = ["they differ"]
    return _row("two studies at once in one folder", 1, bad)


def _names(folder: Path, run: Run) -> dict[Path, int]:
    """Files and their times, but for what the trainer at work and the first workflow write."""
    own = (run.state_folder, folder / run.study.name / "logs")
    files = [path for path in folder.rglob("*") if path.is_file() and not set(own) & set(path.parents)]
    return {path: path.stat().st_mtime_ns for path in files}


def _wait_for(path: Path) -> None:
    _wait_until(lambda: path.exists() and path.stat().st_size)


def _wait_until(true: Callable[[], object], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"waited {seconds} s"
        time.sleep(0.01)


def _row(fault: str, tries: int, bad: list[str]) -> dict:
    return row(fault, tries, tries - min(tries, len(bad)), "; ".join(bad[:3]) or "nothing")
