"""`python -m benchmarks [PART ...] [--quick]`: every part of the benchmark as its own process, then the report."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import PARTS, write_report
from hdpo.system.errors import UserError

# Parts that want packages which the kit does not need run in an environment of their own, if it is there.
ENVIRONMENTS = {"peers": Path(".venv-bench/bin/python"), "rollouts": Path(".venv-bench/bin/python")}
DEFAULT = tuple(part for part in PARTS if part != "gpu")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 all parts done, 1 some could not run (the report says which), 2 bad input (one line)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all but gpu)")
    parser.add_argument("--quick", action="store_true", help="under a minute, to results/bench/quick: does it run?")
    parser.add_argument("--out", type=Path, help="folder of the results (default: results/bench)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        print(f"benchmarks: no part {unknown[0]!r}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    out = options.out or Path("results/bench/quick" if options.quick else "results/bench")
    failed = [part for part in options.parts or DEFAULT if run(part, out, options.quick)]
    try:
        written = write_report(out)
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print((out / "goals.md").read_text(encoding="utf-8"), *written, sep="\n")
    return 1 if failed else 0


def run(part: str, out: Path, quick: bool) -> int:
    """Run one part in its own process on one thread; an older result of it is removed first."""
    target = out / f"{part}.json"
    target.unlink(missing_ok=True)
    python = ENVIRONMENTS.get(part, Path(sys.executable))
    command = [python if python.exists() else sys.executable, "-m", f"benchmarks.{part}", "--out", target]
    began = time.perf_counter()
    done = subprocess.run([*command, *(["--quick"] if quick else [])], env=os.environ | {"OMP_NUM_THREADS": "1"})
    print(f"{part}: exit {done.returncode} after {time.perf_counter() - began:.0f} s", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
