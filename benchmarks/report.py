"""The benchmark to read: goals beside what was measured, a table for each part, and figures."""

from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES
from benchmarks.goals import goal_table
from benchmarks.tables import SECTIONS
from hdpo.render.style import save_figure
from hdpo.render.table import make_table, to_markdown, write_text
from hdpo.system.errors import UserError
from hdpo.system.files import read_json

PARTS = ("peers", "rollouts", "limits", "overhead", "growth", "memory", "startup", "whole", "gpu")
Results = dict[str, dict[str, Any]]


def write_report(folder: Path) -> list[Path]:
    """Read `folder`/<part>.json, those that are there, and write goals.md, bench.md and the figures beside them.

    Raises:
        UserError: no part has been run, or a result is damaged.
    """
    results = read_results(folder)
    goals = to_markdown(make_table("goals", goal_table(results), caption(results))) + "\n"
    sections = [section for part in results for section in SECTIONS[part](results[part])]
    write_text(folder / "goals.md", goals)
    write_text(folder / "bench.md", "\n\n".join([goals.strip(), *sections]) + "\n")
    for name, (part, draw) in FIGURES.items():
        if part in results:
            save_figure(draw(results[part]), folder / name)
    return sorted([*folder.glob("*.md"), *folder.glob("*.png")])


def read_results(folder: Path) -> Results:
    """The parts that were run, in the order of `PARTS`.

    Raises:
        UserError: none, or one is no result of the benchmark.
    """
    results: Results = {}
    for part in PARTS:
        path = folder / f"{part}.json"
        if not path.is_file():
            continue
        results[part] = read_json(path)
        if not isinstance(results[part], dict) or not isinstance(results[part].get("rows"), list):
            raise UserError(f"{path}: no result of the benchmark; run `python -m benchmarks {part}` again")
    if not results:
        raise UserError(f"{folder}: no results; run `python -m benchmarks` first")
    return results


def caption(results: Results) -> str:
    """What was measured on what."""
    machines = {f"{result['cpu']}, torch {result['versions']['torch']}" for result in results.values()}
    quick = " Quick mode: too few rounds to read." if any(result.get("quick") for result in results.values()) else ""
    return f"Speed on one thread of {'; '.join(sorted(machines))}; medians over rounds taken in turns.{quick}"
