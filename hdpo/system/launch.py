"""A job of several processes: started by one, told to stop by one, ended by whichever fails first.

The processes run the same command and find one another by torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK), so
`torchrun … -m -- hdpo.cli train …` works as well. torchrun itself ends its processes 30 s after a signal, in the midst
of a step, and wraps a line of error into a page; this passes on signals and exit codes as they are.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from hdpo.system.interrupt import SIGNALS

POLL = 0.05  # seconds
HEARING = 2.0  # seconds in which a rank that has failed is heard before those that fail of it
RENDEZVOUS = "HDPO_RENDEZVOUS"  # the file where a job's processes find one another


def is_rank() -> bool:
    """Whether this process is one of a job's already."""
    return "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Whether this process speaks for its job, as the only one does."""
    return os.environ.get("RANK", "0") == "0"


def launch(count: int, arguments: list[str]) -> int:
    """Run `hdpo` with `arguments` in `count` processes; the exit code of the first that fails, or 0.

    Signals go to all of them, in process groups of their own, so that a terminal's Ctrl-C arrives once. Where this
    process is killed, they end too.
    """
    processes: list[subprocess.Popen] = []
    passed: set[int] = set()

    def pass_on(number: int, _frame) -> None:
        passed.add(number)
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        with tempfile.TemporaryDirectory(prefix="hdpo-") as folder:
            for rank in range(count):
                processes.append(_start(arguments, rank, count, Path(folder) / "rendezvous"))
            rank, code = _first_failure(processes)
        if code < 0 and -code not in passed:
            name = signal.Signals(-code).name
            print(f"hdpo: process {rank} of {count} was ended by {name}", file=sys.stderr, flush=True)
        return 128 - code if code < 0 else code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(arguments: list[str], rank: int, count: int, rendezvous: Path) -> subprocess.Popen:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    environment = os.environ | {name: str(value) for name, value in ranks.items()}
    environment[RENDEZVOUS] = str(rendezvous)
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing listens to the network
    command = [sys.executable, "-P", "-m", "hdpo.cli", *arguments]  # -P: no module comes from the working directory
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)


def _first_failure(processes: list[subprocess.Popen]) -> tuple[int, int]:
    """Wait for all; at the first that fails, kill the others. Its rank and exit code, or those of rank 0."""
    try:
        while True:
            codes = [process.poll() for process in processes]
            for rank, code in enumerate(codes):
                if code:
                    return rank, code
            if None not in codes:
                return 0, 0
            time.sleep(POLL)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def end_with_parent() -> None:
    """In a process that `launch` started: end when the parent has, whose end of the pipe closes with it.

    A parent that was killed could not remove the folder of the rendezvous; its processes do.
    """
    if RENDEZVOUS in os.environ:

        def watch() -> None:
            os.read(0, 1)
            rendezvous = Path(os.environ[RENDEZVOUS])
            for file in rendezvous.parent.glob(f"{rendezvous.name}*"):
                file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the other process may have been first
                rendezvous.parent.rmdir()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def may_speak(is_echo: bool) -> bool:
    """Whether this process is to show its error, and not another one of its job; the job ends with the one that does.

    An error of the input or a stop reaches all ranks, and the first to get here speaks for them. `is_echo`: the error
    may come of another rank's end, as a lost connection does, so that rank goes first.
    """
    if not is_rank():
        return True
    for number in SIGNALS:  # from here on the others' end may be ours
        signal.signal(number, signal.SIG_DFL)
    if is_echo:
        time.sleep(HEARING)
    if RENDEZVOUS not in os.environ:  # started by torchrun, which shows every rank's
        return True
    try:
        Path(os.environ[RENDEZVOUS] + "-error").touch(exist_ok=False)
        return True
    except FileExistsError:
        time.sleep(HEARING)  # in which the job ends
        return False
