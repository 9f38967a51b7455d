"""Calls a function in worker processes, each call under a time-out that the call cannot block.

The worker sets a kernel timer whose signal kills it. So even a call that is stuck inside a C routine ends on time: the
parent sees the pipe close, and a new worker takes the next call. Workers are forked from a server process that has
imported the function's module and has no threads, so a replacement takes milliseconds and is safe beside torch.
"""

import resource
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

MEMORY_BYTES = 4 << 30  # address space of a worker: a call that wants more fails alone
ATTEMPTS = 2  # a worker may die without its call's fault, as when a whole job is told to stop


@dataclass(frozen=True)
class TimedOut:
    """In place of a result: the call was still running after its time-out."""


@dataclass(frozen=True)
class Crashed:
    """In place of a result: the call raised, or its process died twice."""

    error: str


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    call: int = -1  # index of the call that it is busy with


class WorkerPool:
    """`workers` processes that call `function`, started by the first use and gone with this process."""

    def __init__(self, function: Callable[..., Any], workers: int, seconds: float) -> None:
        """`function` must be importable by name; `seconds` is the time-out of one call."""
        self.function, self.count, self.seconds = function, workers, seconds
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload([function.__module__])
        self.workers: list[_Worker] = []

    def map(self, calls: Sequence[tuple]) -> list[Any]:
        """`function(*call)` of each call in order, or `TimedOut` or `Crashed` in its place."""
        results: list[Any] = [None] * len(calls)
        deaths = [0] * len(calls)
        waiting = deque(range(len(calls)))
        busy: dict[Connection, _Worker] = {}
        for worker in [worker for worker in self.workers if not worker.process.is_alive()]:
            self._bury(worker)
        while len(self.workers) < min(self.count, len(calls)):
            self._start()
        idle = list(self.workers)
        try:
            while waiting or busy:
                while waiting and idle:
                    worker = idle.pop()
                    worker.call = waiting.popleft()
                    busy[worker.pipe] = worker
                    with suppress(OSError):  # it died after its last call; the read below sees the closed pipe
                        worker.pipe.send(calls[worker.call])
                ready = wait(list(busy))
                for pipe in [pipe for pipe in busy if pipe in ready]:
                    worker = busy[pipe]
                    try:
                        results[worker.call] = pipe.recv()
                    except (EOFError, OSError):
                        code = self._bury(worker)
                        deaths[worker.call] += 1
                        if code == -signal.SIGALRM:
                            results[worker.call] = TimedOut()
                        elif deaths[worker.call] == ATTEMPTS:
                            results[worker.call] = Crashed(f"worker process ended with code {code}")
                        else:
                            waiting.append(worker.call)
                        worker = self._start()
                    del busy[pipe]
                    idle.append(worker)
        finally:
            for worker in busy.values():  # interrupted: the next call would get its answer
                worker.process.kill()
                self._bury(worker)
        return results

    def close(self) -> None:
        """End the workers; the next `map` starts new ones."""
        for worker in list(self.workers):
            self._bury(worker)

    def _start(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.function, self.seconds), daemon=True)
        process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours))
        return self.workers[-1]

    def _bury(self, worker: _Worker) -> int | None:
        """Close a worker's pipe, which ends it, and return its exit code."""
        self.workers = [other for other in self.workers if other is not worker]
        worker.pipe.close()
        worker.process.join()
        return worker.process.exitcode


def _serve(pipe: Connection, function: Callable[..., Any], seconds: float) -> None:
    """Serve calls until the parent closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            call = pipe.recv()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            result = function(*call)
        except Exception as error:  # a pathological answer can only spoil its own verdict
            result = Crashed(f"{type(error).__name__}: {str(error)[:200]}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        pipe.send(result)
