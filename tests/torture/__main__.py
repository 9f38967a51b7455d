"""`make torture`: every fault script, one table: fault, tries, survived, lost.

    python tests/torture [--quick] [name ...]

Each script runs in a process of its own, as many at a time as there are processors, and leaves its rows in
results/torture/<name>.json; the table is made of all that lie there.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from hdpo.system.files import write_json
from hdpo.system.provenance import provenance

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/, as pytest has it

HERE = Path(__file__).parent
OUT = Path("results/torture").resolve()
SHARED = {"__main__", "victims"}


def main(arguments: list[str]) -> int:
    """Run the scripts named, or all; write the table; 1 if anything was lost."""
    quick, names = "--quick" in arguments, [word for word in arguments if word != "--quick"]
    OUT.mkdir(parents=True, exist_ok=True)
    if len(names) == 1:
        run(names[0], quick)
    else:
        names = names or sorted({path.stem for path in HERE.glob("*.py")} - SHARED)
        command = [sys.executable, str(HERE), *(["--quick"] if quick else [])]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            codes = list(pool.map(lambda name: subprocess.run([*command, name]).returncode, names))
        if broken := [name for name, code in zip(names, codes, strict=True) if code not in (0, 1)]:
            print(f"did not run to the end: {', '.join(broken)}", file=sys.stderr)
            return 2
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(OUT.glob("*.json"))]
    (OUT / "torture.md").write_text(table(records), encoding="utf-8")
    return int(any(row["survived"] < row["tries"] for record in records for row in record["rows"]))


def run(name: str, quick: bool) -> None:
    """One script, here; its rows go to standard output and to a file of its own."""
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.monotonic()
    rows = import_module(f"torture.{name}").run(quick)
    for row in rows:
        print("{fault}: {survived} of {tries} survived; lost: {lost}".format(**row), flush=True)
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    write_json(OUT / f"{name}.json", provenance() | {"quick": quick, "rows": rows})


def table(records: list[dict]) -> str:
    """The rows of all scripts in Markdown, and where they ran."""
    keys = ("fault", "tries", "survived", "lost")
    lines = ["| " + " | ".join(keys) + " |", "|---|---:|---:|---|"]
    rows = [row for record in records for row in record["rows"]]
    lines += ["| " + " | ".join(str(row[key]).replace("|", "\\|") for key in keys) + " |" for row in rows]
    places = {f"{r['cpu']}, Python {r['versions']['python']}, commit {str(r['commit'])[:12]}" for r in records}
    return "\n".join([*lines, "", *(f"Run on {place}." for place in sorted(places))]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
