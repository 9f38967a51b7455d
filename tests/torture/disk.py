"""No room, or no permission, to write: one clear line, what was good stays good, and the same command goes on after.

Real file systems where this user may mount one (a small tmpfs over results/, made larger or writable again), and a
limit on the size of files, under which the kernel fails writes as a full disk does.
"""

import contextlib
import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from torture.victims import (
    ARMS,
    NAME,
    error_lines,
    fingerprint,
    hdpo,
    newest_step,
    output,
    row,
    snakemake,
    the_run,
    train,
    uninterrupted,
    wait,
    workplace,
)

RESULTS = Path("results")
EVALUATE = ["evaluate", "study.yaml", "--run", NAME, "--seed", "1"]
STAGES = ["summary", "statistics", "tables", "figures", "theory", "audit", "check", "report", "page"]


def run(quick: bool) -> list[dict]:
    expected = uninterrupted()
    rows = [failing_syncs(2 if quick else 40, expected), file_limit(1 if quick else 10, expected)]
    if can_mount():
        rows += [full_disk(1 if quick else 16, expected), read_only(1 if quick else 4, expected)]
        rows += [] if quick else whole_workflow()
    return rows


def failing_syncs(tries: int, expected: dict[str, str]) -> dict:
    """The k-th sync fails with each kind of error in turn: checkpoint, model, metrics, evaluations, record."""
    bad, kinds = [], (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
    for number in range(tries):
        kind = kinds[number % 4]
        with workplace():
            code = wait(train(prepare=lambda number=number, kind=kind: _fail_sync(4 + 2 * number, kind)))
            bad += _doubts(code, kind) if code or number < 20 else []
            bad += _differs(expected)
    return _row("a sync that fails: no space, quota, read-only, forbidden", tries, bad)


def file_limit(tries: int, expected: dict[str, str]) -> dict:
    """The kernel lets no file grow beyond a limit: it hits weights, moments, evaluations and metrics in turn."""
    bad, hit = [], 0
    for number in range(tries):
        with workplace():
            code = wait(train(prepare=lambda number=number: _limit_files(200_000 >> number)))
            hit += code != 0
            bad += _doubts(code, errno.EFBIG) if code else []
            bad += _differs(expected)
    return _row("files that may not grow", tries, bad + ([] if hit else ["the limit was never met"]))


def full_disk(tries: int, expected: dict[str, str]) -> dict:
    """A disk with room for a part of the run, another part each time; then it is made larger."""
    bad, hit = [], 0
    with workplace():
        assert wait(train()) == 0, output()
        needed = sum(path.stat().st_size for path in RESULTS.rglob("*") if path.is_file())
    for number in range(tries):
        with workplace(), mounted(f"size={needed * (number + 1) // (tries + 1) // 4096 * 4096}"):
            run = the_run()
            code = wait(train())
            hit += code != 0
            bad += _doubts(code, errno.ENOSPC) if code else []
            saved = newest_step(run)
            mount("remount,size=64m")
            output()
            code, said = wait(train()), output()
            if code or fingerprint(run) != expected or (saved and f"resuming after step {saved}" not in said):
                bad.append(f"after more room: exit code {code}, {saved} steps saved, {said[-200:]}")
    return _row("disk full while training", tries, bad + ([] if hit else ["the disk was never full"]))


def read_only(tries: int, expected: dict[str, str]) -> dict:
    """A disk that is read-only when a run starts, or goes on; then it is writable again."""
    bad = []
    for number in range(tries):
        with workplace(), mounted("size=64m"):
            if number % 2:
                wait(train(prepare=lambda: _fail_sync(30, errno.EIO)))
                output()
            mount("remount,ro")
            bad += _doubts(wait(train()), errno.EROFS)
            mount("remount,rw")
            bad += _differs(expected)
    return _row("read-only disk", tries, bad)


def whole_workflow() -> list[dict]:
    """Plain `snakemake` on a disk too small, then on larger ones until it is through; then each stage without room."""
    rows, bad, tries = [], [], 0
    with workplace(methods=ARMS), mounted("size=200k"):
        for room in ("1m", "4m", "64m"):
            mount(f"remount,size={room}")
            process = snakemake()
            said, tries = process.communicate(timeout=300)[0], tries + 1
            if not process.returncode:
                break
            if os.strerror(errno.ENOSPC) not in said or "Traceback" in said:
                bad.append(f"{room}: {said[-400:]}")
        bad += [] if tries > 1 and not process.returncode else [f"{tries} tries, exit code {process.returncode}"]
        rows.append(_row("disk full anywhere in the workflow", tries, bad))
        rows.append(stages() if not process.returncode else row("disk full, stage by stage", 0, 0, "not reached"))
    return rows


def stages() -> dict:
    """Each stage of a finished study on a full disk: refused in one line, its results as they were; then it passes."""
    bad = []
    for arguments in [EVALUATE, *([stage, "study.yaml"] for stage in STAGES)]:
        before = _bytes()
        with open(RESULTS / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        code = wait(hdpo(arguments))
        bad += [f"{arguments[0]}: {doubt}" for doubt in _doubts(code, errno.ENOSPC)]
        (RESULTS / "filler").unlink()
        bad += [f"{arguments[0]}: {path} changed" for path, data in _bytes().items() if before.get(path) != data]
        if code := wait(hdpo(arguments)):
            bad.append(f"{arguments[0]}: exit code {code} with room again: {output()[-300:]}")
        output()
    return _row("disk full, stage by stage", 1 + len(STAGES), bad)


def can_mount() -> bool:
    with workplace():
        try:
            with mounted("size=1m"):
                return True
        except subprocess.CalledProcessError:
            return False


@contextlib.contextmanager
def mounted(options: str) -> Iterator[None]:
    """A tmpfs over results/."""
    RESULTS.mkdir(exist_ok=True)
    mount(options)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", RESULTS], check=True)


def mount(options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", RESULTS], check=True, capture_output=True)


def _doubts(code: int, kind: int) -> list[str]:
    """What is wrong with how a failure to write ended: not one line that says why, or something left behind."""
    said = error_lines(output())
    clear = code == 2 and len(said) == 1 and os.strerror(kind) in said[0]
    left = [f"left {path}" for path in RESULTS.rglob("*.tmp")]
    return left + ([] if clear else [f"exit code {code}, {said}"])


def _differs(expected: dict[str, str]) -> list[str]:
    """Train again: whether it does not end in the bytes of the run that nothing disturbed."""
    output()
    code = wait(train())
    return [] if not code and fingerprint(the_run()) == expected else [f"again: exit code {code}, {output()[-200:]}"]


def _fail_sync(number: int, kind: int) -> None:
    """In this process, every sync from the `number`-th on fails."""
    made, before = 0, os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal made
        made += 1
        if made >= number:
            raise OSError(kind, os.strerror(kind))
        before(descriptor)

    os.fsync = fsync


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _bytes() -> dict[Path, bytes]:
    """What the workflow declares or reads, benchmarks and provenance times aside."""
    kinds = ("*.csv", "*.png", "*.pdf", "*.html", "*.parquet")
    return {path: path.read_bytes() for kind in kinds for path in RESULTS.rglob(kind)}


def _row(fault: str, tries: int, bad: list[str]) -> dict:
    return row(fault, tries, tries - min(tries, len(bad)), "; ".join(bad[:3]) or "nothing")
