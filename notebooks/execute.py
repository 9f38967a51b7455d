"""Execute the notebooks: python notebooks/execute.py [NAME …], each src/NAME.py into NAME.ipynb beside this file.

Cell ids are numbered and timings dropped, so that running twice gives equal files where results are equal.
Exit code 1 if a cell fails (the error is printed), 2 if a name is unknown.
"""

import os
import sys
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent


def execute(name: str) -> None:
    """Run src/`name`.py from the top and write `name`.ipynb, its outputs included."""
    notebook = jupytext.read(HERE / "src" / f"{name}.py")
    quiet = ["--IPKernelApp.log_level=ERROR"]
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(HERE)}}, extra_arguments=quiet)
    client.execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
    jupytext.write(notebook, HERE / f"{name}.ipynb", fmt="ipynb")


def main(names: list[str]) -> int:
    known = sorted(path.stem for path in (HERE / "src").glob("[0-9]*.py"))
    if unknown := [name for name in names if name not in known]:
        print(f"notebook {unknown[0]!r} does not exist; there are {', '.join(known)}", file=sys.stderr)
        return 2
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # progress bars have no place in a notebook on file
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    for name in names or known:
        started = time.perf_counter()
        try:
            execute(name)
        except CellExecutionError as error:
            print(f"notebook {name}: {error}", file=sys.stderr)
            return 1
        print(f"{name}: {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
