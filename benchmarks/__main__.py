"""`python -m benchmarks [PART ...] [--quick]`: run parts of the benchmark, a process each, and write the report.

`python -m benchmarks versions OTHER_CHECKOUT` compares this version of the kit with another one.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.part import RESULTS, result_file
from benchmarks.report import PARTS, write_report
from hdpo.system.errors import UserError

# Parts that want packages which the kit does not need run in an environment of their own, if it is there.
ENVIRONMENTS = {"peers": Path(".venv-bench/bin/python"), "rollouts": Path(".venv-bench/bin/python")}
DEFAULT = tuple(part for part in PARTS if part not in ("gpu", "versions"))


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 all parts done, 1 some could not run (the report says which), 2 bad input (one line)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    help = f"of {', '.join(PARTS)} (default: all but gpu and versions); versions: then the other checkout"
    parser.add_argument("parts", nargs="*", metavar="PART", help=help)
    parser.add_argument("--quick", action="store_true", help=f"in some minutes, to {RESULTS}/quick: does it run?")
    parser.add_argument("--out", type=Path, help=f"folder of all processors' results (default: {RESULTS})")
    options = parser.parse_args(arguments)
    commands = [[part] for part in options.parts or DEFAULT]
    if options.parts[:1] == ["versions"]:
        commands = [options.parts]
        if len(options.parts) != 2:
            return _fail("versions: give one other checkout, as in `versions ../before`")
    elif unknown := sorted(set(options.parts) - set(PARTS) | set(options.parts) & {"versions"}):
        return _fail(f"no part {unknown[0]!r} here; choose from {', '.join(PARTS)}, versions alone")
    out = options.out or (RESULTS / "quick" if options.quick else RESULTS)
    failed = [command for command in commands if run(*command, out=out, quick=options.quick)]
    try:
        written = write_report(out)
    except UserError as error:
        return _fail(str(error))
    print((out / "goals.md").read_text(encoding="utf-8"), *written, sep="\n")
    return 1 if failed else 0


def run(part: str, *more: str, out: Path, quick: bool) -> int:
    """Run one part in its own process on one thread; its older result is removed first."""
    target = result_file(out, part)
    target.unlink(missing_ok=True)
    python = ENVIRONMENTS.get(part, Path(sys.executable))
    command = [python if python.exists() else sys.executable, "-m", f"benchmarks.{part}", *more, "--out", target]
    began = time.perf_counter()
    done = subprocess.run([*command, *(["--quick"] if quick else [])], env=os.environ | {"OMP_NUM_THREADS": "1"})
    print(f"{part}: exit {done.returncode} after {time.perf_counter() - began:.0f} s", flush=True)
    return done.returncode


def _fail(line: str) -> int:
    print(f"benchmarks: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
