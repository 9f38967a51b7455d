"""A job of several processes. One process starts them and passes signals on; the first to fail ends all.

The processes run the same command and find one another by torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK), so
`torchrun … -m -- hdpo.cli train …` works as well. But torchrun kills its processes 30 s after a signal, even within a
step, and turns one line of error into a page. This launcher passes signals and exit codes on unchanged.
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

from hdpo.system.interrupt import SIGNALS, handled

POLL = 0.05  # seconds
HEARING = 2.0  # seconds that a failed rank has to report before the ranks that fail because of it
RENDEZVOUS = "HDPO_RENDEZVOUS"  # names the file by which a job's processes find one another


def is_rank() -> bool:
    """Whether this process already belongs to a job of several."""
    return "LOCAL_RANK" in os.environ


def is_first() -> bool:
    """Whether this process speaks for its job. A process on its own does."""
    return os.environ.get("RANK", "0") == "0"


def launch(count: int, arguments: list[str]) -> int:
    """Run `hdpo` with `arguments` in `count` processes. Returns the exit code of the first that fails, or 0.

    Each process has a process group of its own and gets signals only from here, so Ctrl-C in a terminal arrives once.
    If this process is killed, the others end too.
    """
    processes: list[subprocess.Popen] = []
    passed: set[int] = set()

    def pass_on(number: int, _frame) -> None:
        passed.add(number)
        for process in processes:
            process.send_signal(number)

    with handled(pass_on):
        with tempfile.TemporaryDirectory(prefix="hdpo-") as folder:
            for rank in range(count):
                processes.append(_start(arguments, rank, count, Path(folder) / "rendezvous"))
            rank, code = _first_failure(processes)
        if code < 0 and -code not in passed:
            name = signal.Signals(-code).name
            print(f"hdpo: process {rank} of {count} was ended by {name}", file=sys.stderr, flush=True)
        return 128 - code if code < 0 else code


def _start(arguments: list[str], rank: int, count: int, rendezvous: Path) -> subprocess.Popen:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    environment = os.environ | {name: str(value) for name, value in ranks.items()}
    environment[RENDEZVOUS] = str(rendezvous)
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nothing listens to the network
    command = [sys.executable, "-P", "-m", "hdpo.cli", *arguments]  # -P: no module comes from the working directory
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)


def _first_failure(processes: list[subprocess.Popen]) -> tuple[int, int]:
    """Wait for all and kill the rest when one fails. Returns its rank and exit code, or (0, 0)."""
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
    """End this process when the parent that launched it ends. The parent's end of the pipe closes with it.

    A killed parent could not remove the folder of the rendezvous, so its processes do.
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
    """Whether this process should show its error. Only one process of a job does, and the job ends with it.

    Bad input or a stop reaches all ranks, and the first to get here speaks for them. `is_echo`: the error may be due to
    the end of another rank (a lost connection, say), so that rank may speak first.
    """
    if not is_rank():
        return True
    for number in SIGNALS:  # from here on the end of another rank may end this one
        signal.signal(number, signal.SIG_DFL)
    if is_echo:
        time.sleep(HEARING)
    if RENDEZVOUS not in os.environ:  # torchrun shows the errors of all ranks
        return True
    try:
        Path(os.environ[RENDEZVOUS] + "-error").touch(exist_ok=False)
        return True
    except FileExistsError:
        time.sleep(HEARING)  # the job ends meanwhile
        return False
