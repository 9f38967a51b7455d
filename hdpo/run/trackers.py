"""Trackers: training reports to TensorBoard, Weights & Biases or trackio beside its own files.

A thread of its own calls them, so that a server that is slow or not there never holds up a step. A tracker that fails
is named on stderr once and left out from then on. What they receive changes nothing in the run.
"""

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from hdpo.run.longer import with_steps
from hdpo.run.tracker_kinds import KINDS, Tracker
from hdpo.stats.passk import pass_at_k
from hdpo.study.study import Run, Study
from hdpo.system.errors import UserError, brief

PATIENCE = 30.0  # seconds that the end of a run waits for its trackers


def require_trackers(study: Study) -> None:
    """Check that the study's trackers are installed, before anything is loaded.

    Raises:
        UserError: one is not.
    """
    for name in study.trackers:
        if find_spec(name) is None:
            raise UserError(f'trackers: {name} is not installed; pip install "hdpo[{name}]", or leave it out')


class Trackers:
    """The trackers of one run, by name. Without names, every call does nothing."""

    def __init__(self, run: Run, done: int, names: Sequence[str]) -> None:
        """Begin, or continue after `done` steps, the run's page in each tracker."""
        self.run, self.alive = run, dict[str, Tracker]()
        self.jobs: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, daemon=True) if names else None
        if self.thread:
            self.thread.start()
        for name in names:
            self._ask(partial(self._start, name, done))

    def metrics(self, step: int, record: dict[str, Any]) -> None:
        """The metrics of one step, as in metrics.jsonl."""
        values = numbers(record)
        self._tell(lambda tracker: tracker.metrics(step, values))

    def evaluation(self, step: int, rows: list[dict[str, Any]]) -> None:
        """The means of the evaluation after `step` steps, as `evaluate/<split>/<metric>`."""
        values = means(rows, self.run.study.evaluate.ks) if self.thread else {}
        self._tell(lambda tracker: tracker.metrics(step, values))

    def samples(self, step: int, rows: list[dict[str, Any]]) -> None:
        """The sample of one step, if it has one."""
        if rows:
            self._tell(lambda tracker: tracker.samples(step, rows))

    def close(self) -> None:
        """Wait a while until all has arrived. What a server has not taken by then stays where its package puts it."""
        if self.thread is None:
            return
        self._tell(lambda tracker: tracker.close())
        self.jobs.put(None)
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            self._say(f"trackers: {', '.join(self.alive)}: no answer in {PATIENCE:.0f} s; not all has arrived there")

    def _start(self, name: str, done: int) -> None:
        try:
            self.alive[name] = KINDS[name](self.run, page(self.run), done)
        except Exception as error:  # packages of others: whatever they raise, training goes on
            self._say(f"trackers: {name}: {brief(error)}; training goes on without it")

    def _tell(self, call: Callable[[Tracker], Any]) -> None:
        def each() -> None:
            for name, tracker in list(self.alive.items()):
                try:
                    call(tracker)
                except Exception as error:
                    del self.alive[name]
                    self._say(f"trackers: {name}: {brief(error)}; training goes on without it")

        self._ask(each)

    def _ask(self, job: Callable[[], Any]) -> None:
        if self.thread:
            self.jobs.put(job)

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()

    @staticmethod
    def _say(line: str) -> None:
        print(f"hdpo: {UserError(line)}", file=sys.stderr, flush=True)


def page(run: Run) -> str:
    """The name under which trackers know a run: the same after a kill, and after `train.steps` is raised."""
    return f"{run.study.name}-{run.name}-seed{run.seed}-{with_steps(run, 1).hash}"


def numbers(record: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers in a step's metrics; those of a nested key as `tokens/rollout`."""
    found: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and key != "step":
            found[prefix + key] = float(value)
    return found


def means(rows: list[dict[str, Any]], ks: Sequence[int]) -> dict[str, float]:
    """Means of an evaluation's outcomes over problems, by split."""
    found: dict[str, float] = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        part = [row for row in rows if row["split"] == split]
        n, hits = len(part[0]["samples"]), np.array([sum(row["samples"]) for row in part])
        found[f"evaluate/{split}/greedy"] = sum(row["greedy"] for row in part) / len(part)
        for k in ks:
            found[f"evaluate/{split}/pass@{k}"] = float(pass_at_k(hits, n, k).mean())
    return found
