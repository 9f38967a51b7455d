"""The committed lessons: executed from their sources, complete in their parts, and small."""

import json
import re

import pytest

from helpers.studies import ROOT

FOLDER = ROOT / "notebooks"
LESSONS = sorted(path.stem for path in (FOLDER / "src").glob("*.py"))


def cells(name: str, kind: str) -> list[dict]:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell | {"source": "".join(cell["source"])} for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_every_lesson_is_executed_named_in_the_workflow_and_linked_in_the_readme():
    executed = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    workflow, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("Snakefile", "README.md"))
    assert executed == LESSONS != []
    assert [name for name in LESSONS if f'"{name}"' not in workflow or f"notebooks/{name}.ipynb" not in readme] == []


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_its_parts(name):
    text = "\n".join(cell["source"] for cell in cells(name, "markdown"))
    assert "**Predict.**" in text
    assert re.search(r"## .*Try it\n", text)
    assert text.count("<details>") == text.count("</details>") >= 3


@pytest.mark.parametrize("name", LESSONS)
def test_the_code_of_a_folded_solution_was_run(name):
    blocks = [
        found
        for cell in cells(name, "markdown")
        for found in re.findall(r"<details>.*?</details>", cell["source"], re.S)
    ]
    code = [block for block in blocks if "```python" in block]
    assert code != []
    assert [block for block in code if not re.search(r"```python\n.*\n```\n\n```text\n.+\n```", block, re.S)] == []


@pytest.mark.parametrize("name", LESSONS)
def test_a_committed_lesson_is_its_source_executed_without_error(name):
    source = (FOLDER / "src" / f"{name}.py").read_text(encoding="utf-8")
    missing = [cell["source"] for cell in cells(name, "code") if cell["source"].removeprefix("%") not in source]
    kinds = {output["output_type"] for cell in cells(name, "code") for output in cell["outputs"]}
    assert missing == []
    assert "error" not in kinds
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1_000_000
