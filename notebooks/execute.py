"""Execute the lessons: python notebooks/execute.py [NAME …], each src/NAME.py into NAME.ipynb beside this file.

The code of a folded solution runs too, and what it prints is folded in below it. Cell ids are numbered, and timings and
widgets dropped, so that running twice gives equal files where results are equal.
Exit code 1 if a cell fails (the error is printed), 2 if a name is unknown.
"""

import os
import re
import sys
import time
from itertools import count
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

HERE = Path(__file__).resolve().parent
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)\n```", re.DOTALL)
WIDGET = "application/vnd.jupyter.widget-view+json"


def execute(name: str) -> None:
    """Run src/`name`.py from the top and write `name`.ipynb, its outputs included."""
    notebook = jupytext.read(HERE / "src" / f"{name}.py")
    notebook.cells = [part for cell in notebook.cells for part in (cell, *solutions(cell))]
    quiet = ["--IPKernelApp.log_level=ERROR"]
    where = {"metadata": {"path": str(HERE)}}
    client = NotebookClient(notebook, timeout=1200, resources=where, extra_arguments=quiet, coalesce_streams=True)
    client.execute()
    notebook.metadata.pop("widgets", None)
    notebook.cells = folded(notebook.cells)
    runs = count(1)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            clean(cell, next(runs))
    jupytext.write(notebook, HERE / f"{name}.ipynb", fmt="ipynb")


def solutions(cell: NotebookNode) -> list[NotebookNode]:
    """A code cell for each Python block that a Markdown cell folds away."""
    if cell.cell_type != "markdown":
        return []
    return [new_code_cell(code, metadata={"solution": True}) for code in SOLUTION.findall(cell.source)]


def folded(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells without those of `solutions`, whose outputs go below their code in the Markdown cell."""
    kept: list[NotebookNode] = []
    for cell in cells:
        if not cell.metadata.pop("solution", False):
            kept.append(cell)
            continue
        code = f"```python\n{cell.source}\n```"
        printed = "\n".join(output.get("text") or output["data"]["text/plain"] for output in cell.outputs).strip()
        kept[-1].source = kept[-1].source.replace(code, f"{code}\n\n```text\n{printed}\n```")
    return kept


def clean(cell: NotebookNode, run: int) -> None:
    """Number a code cell and its result; drop widgets, as a slider needs a running kernel, and addresses in memory."""
    cell["execution_count"] = run
    cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output["execution_count"] = run
            output.data["text/plain"] = re.sub(" at 0x[0-9a-f]+", "", output.data["text/plain"])


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
