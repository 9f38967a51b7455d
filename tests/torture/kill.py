"""Killed at any moment, and the same command again: the same bytes, no step doubled or missing, little recomputed."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from torture.victims import (
    ARMS,
    NAME,
    STUDY,
    ended,
    error_lines,
    fingerprint,
    kill_group,
    newest_step,
    output,
    row,
    slow_steps,
    snakemake,
    steps,
    the_run,
    train,
    uninterrupted,
    wait,
    workplace,
)

EVERY, STEPS = STUDY["train__checkpoint_every"], STUDY["train__steps"]
NAMES = ("grpo", NAME)
LONGER = {"train__steps": 400, "train__checkpoint_every": 5, "evaluate__every": 100, "methods": ARMS}
LINES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def run(quick: bool) -> list[dict]:
    expected = uninterrupted()
    rows = [
        random_kills(4 if quick else 100, expected),
        kills_within_writing(4 if quick else None, expected),
        signals(2 if quick else 20, expected),
        second_signal(1 if quick else 5),
    ]
    return rows if quick else [*rows, *under_snakemake(50, 5)]


def random_kills(tries: int, expected: dict[str, str]) -> dict:
    """SIGKILL of `hdpo train` after a random time, again and again until the run is through."""
    rng, kills, good, bad = random.Random(0), 0, 0, []
    began = time.monotonic()
    uninterrupted()
    longest = time.monotonic() - began
    while kills < tries:
        with workplace():
            run, code, since = the_run(), None, 0
            while code is None:
                process = train()
                code = ended(process, rng.uniform(0, longest))
                if code is None:
                    os.kill(process, signal.SIGKILL)
                    wait(process)
                    since += 1
                    bad += _doubts(run)
            if code or fingerprint(run) != expected:
                bad.append(f"exit code {code}: {output()[-300:]}" if code else "other bytes")
            else:
                good += since
            kills += since
    return row("SIGKILL of the trainer at random moments", kills, good, _lost(bad))


def kills_within_writing(tries: int | None, expected: dict[str, str]) -> dict:
    """SIGKILL just before each call that changes the disk: every sync, rename, removal and new folder of a run."""
    with workplace():
        assert wait(train(prepare=lambda: die_at(None))) == 0, output()
        calls = int(Path("calls.txt").read_text())
    chosen = random.Random(1).sample(range(calls), tries) if tries else range(calls)
    good, bad = 0, []
    for call in chosen:
        with workplace():
            run = the_run()
            code = wait(train(prepare=lambda call=call: die_at(call)))
            doubts = [] if code == -signal.SIGKILL else [f"call {call}: not killed, exit code {code}"]
            doubts += _doubts(run)
            if wait(train()) or fingerprint(run) != expected:
                doubts.append(f"call {call}: {output()[-300:]}")
            leftovers = [path for path in Path("results").rglob("*.tmp")]
            doubts += [f"call {call}: left {path}" for path in leftovers]
            good, bad = good + (not doubts), bad + doubts
    return row("SIGKILL before a sync, rename or removal", len(chosen), good, _lost(bad))


def die_at(number: int | None) -> None:
    """In this process, die at the `number`-th change of the disk; with None, count them into calls.txt."""
    made = 0

    def counted(function: Callable) -> Callable:
        def call(*arguments, **keywords):
            nonlocal made
            if made == number:
                os.kill(os.getpid(), signal.SIGKILL)
            made += 1
            if number is None:
                with open("calls.txt", "w") as file:
                    file.write(str(made))
            return function(*arguments, **keywords)

        return call

    for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))


def signals(tries: int, expected: dict[str, str]) -> dict:
    """Ctrl-C and SIGTERM in turn after a random step: one line, the right exit code, that step saved."""
    rng, good, bad = random.Random(2), 0, []
    for number in range(tries):
        sent = (signal.SIGINT, signal.SIGTERM)[number % 2]
        with workplace():
            run, target = the_run(), rng.randrange(1, STEPS // 2)
            process = train(prepare=lambda: slow_steps(0.05))
            _wait_for_steps(run, target)
            os.kill(process, sent)
            if sent == signal.SIGTERM:  # Slurm sends it to the process and to its group
                os.kill(process, sent)
            code, said = wait(process), error_lines(output())
            done = newest_step(run)
            doubts = []
            if code != LINES[sent] or len(said) != 1 or f"stopped after step {done} of {STEPS}" not in said[0]:
                doubts.append(f"{sent.name}: exit code {code}, {said}")
            if done < target or len(steps(run.state_folder / "metrics.jsonl")) != done:
                doubts.append(f"{sent.name} in step {target}: {done} steps saved")
            if wait(train()) or fingerprint(run) != expected:
                doubts.append(f"{sent.name}: {output()[-300:]}")
            good, bad = good + (not doubts), bad + doubts
    return row("Ctrl-C and SIGTERM to the trainer", tries, good, _lost(bad))


def second_signal(tries: int) -> dict:
    """A step that takes for ever, and two Ctrl-C: the second ends it."""
    good, bad = 0, []
    for _ in range(tries):
        with workplace():
            process = train(prepare=_endless_step)
            while not Path("in_step").exists():
                time.sleep(0.01)
            os.kill(process, signal.SIGINT)
            first = ended(process, 0.5)
            os.kill(process, signal.SIGINT)
            second = ended(process, 5)
            good += (ok := (first, second) == (None, -signal.SIGINT))
            bad += [] if ok else [f"exit codes {first}, {second}"]
    return row("a second Ctrl-C", tries, good, _lost(bad))


def under_snakemake(kills: int, gentle: int) -> list[dict]:
    """The whole of Snakemake's process group killed, or stopped by signals, at random moments of training."""
    expected = {name: uninterrupted(name, **LONGER) for name in NAMES}
    return [
        group("SIGKILL of Snakemake's process group", signal.SIGKILL, kills, expected),
        group("Ctrl-C to Snakemake's process group", signal.SIGINT, gentle, expected),
        group("SIGTERM to Snakemake's process group", signal.SIGTERM, gentle, expected),
    ]


def group(fault: str, number: signal.Signals, tries: int, expected: dict[str, dict[str, str]]) -> dict:
    """Two runs at a time under the plain command, given again after each `number` until they are through."""
    rng, sent, good, bad = random.Random(3), 0, 0, []
    while sent < tries:
        with workplace(**LONGER):
            runs, since, doubts = [the_run(name) for name in NAMES], 0, []
            targets = [str(run.folder / "run.json") for run in runs]
            while True:
                process = snakemake(*targets)
                _wait_for_any_step(process, runs)
                if sent + since < tries:
                    time.sleep(rng.uniform(0, 0.7))
                    kill_group(process, number)
                said = process.communicate(timeout=300)[0]
                if process.returncode == 0:
                    break
                since += 1
                doubts += ["a traceback"] if "Traceback" in said else []
                doubts += [doubt for run in runs for doubt in _doubts(run, LONGER["train__checkpoint_every"])]
                if sent + since > tries:
                    doubts.append(f"exit code {process.returncode}: {said[-500:]}")
                    break
            doubts += [
                f"{run.name}: other bytes" for run in runs if not doubts and fingerprint(run) != expected[run.name]
            ]
            sent, good, bad = sent + since, good + (0 if doubts else since), bad + doubts
    return row(fault, sent, good, _lost(bad))


def _doubts(run, every: int = EVERY) -> list[str]:
    """What is wrong with the state that a kill left: steps doubled or missing, or more than an interval to redo."""
    metrics = run.state_folder / "metrics.jsonl"
    if not metrics.exists():
        return []
    logged, saved = [json.loads(line)["step"] for line in steps(metrics)], newest_step(run)
    found = [] if logged == list(range(len(logged))) else [f"steps logged: {logged}"]
    return found + ([f"{len(logged)} steps logged, {saved} saved"] if len(logged) - saved > every else [])


def _lost(doubts: list[str]) -> str:
    return "nothing" if not doubts else "; ".join(doubts[:3])


def _wait_for_steps(run, count: int) -> None:
    metrics = run.state_folder / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < count:
        time.sleep(0.001)


def _wait_for_any_step(process, runs) -> None:
    """Until a trainer of this process group has written something, or the workflow is through."""
    before = [_changed(run) for run in runs]
    while process.poll() is None and before == [_changed(run) for run in runs]:
        time.sleep(0.005)


def _changed(run) -> int:
    metrics = run.state_folder / "metrics.jsonl"
    return metrics.stat().st_mtime_ns if metrics.exists() else 0


def _endless_step() -> None:
    from hdpo.learning.trainer import Trainer

    def step(self, now):
        Path("in_step").touch()
        while True:
            time.sleep(0.01)

    Trainer.step = step
