"""Ctrl-C and SIGTERM let the current step finish and save it; a second Ctrl-C stops at once.

A second SIGTERM changes nothing, because Slurm sends SIGTERM to a job's processes and again to their group.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Stopped by a signal; the command line turns it into one line and exit code 128 + `number`."""

    def __init__(self, number: int, line: str) -> None:
        super().__init__(line)
        self.number = number


class Stop:
    """Which signal has arrived, if any."""

    number: int | None = None


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While inside, `handler` takes the signals that stop a job."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """While inside, only note signals. After a first Ctrl-C, the next one ends the process as usual."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread only
        yield stop
        return

    def note(number: int, _frame: FrameType | None) -> None:
        stop.number = stop.number or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    with handled(note):
        yield stop
