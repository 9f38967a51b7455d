"""The benchmark to read: each goal on each processor, and for each processor tables and figures of all parts."""

from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES
from benchmarks.goals import goal_table
from benchmarks.part import folder_name
from benchmarks.tables import SECTIONS
from hdpo.render.style import save_figure
from hdpo.render.table import make_table, markdown_text, to_markdown, write_text
from hdpo.system.errors import UserError
from hdpo.system.files import read_json

PARTS = ("peers", "rollouts", "limits", "overhead", "growth", "memory", "startup", "whole", "gpu", "versions")
Results = dict[str, dict[str, Any]]  # by part


def write_report(out: Path) -> list[Path]:
    """Read `out`/<processor>/<part>.json and write goals.md to `out`, and bench.md and figures to each folder.

    Raises:
        UserError: no part has been run, or a result is damaged or in another processor's folder.
    """
    processors = {}
    for folder in sorted({path.parent for part in PARTS for path in out.glob(f"*/{part}.json")}):
        results = read_results(folder)
        processors[next(iter(results.values()))["cpu"]] = results
        sections = [section for part in results for section in SECTIONS[part](results[part])]
        write_text(folder / "bench.md", "\n\n".join([f"**{markdown_text(caption(results))}**", *sections]) + "\n")
        for name, (part, draw) in FIGURES.items():
            if part in results:
                save_figure(draw(results[part]), folder / name)
    if not processors:
        raise UserError(f"{out}: no results; run `python -m benchmarks` first")
    captions = " ".join(caption(results) for results in processors.values())
    goals = goal_table(processors)
    write_text(out / "goals.md", to_markdown(make_table("goals", goals, captions, words=goals.columns)) + "\n")
    return sorted([*out.glob("*.md"), *out.glob("*/*.md"), *out.glob("*/*.png")])


def read_results(folder: Path) -> Results:
    """The parts that were run on one processor, in the order of `PARTS`.

    Raises:
        UserError: one is no result of the benchmark, or was measured on another processor.
    """
    results: Results = {}
    for part in PARTS:
        path = folder / f"{part}.json"
        if not path.is_file():
            continue
        result = results[part] = read_json(path)
        if not isinstance(result, dict) or not isinstance(result.get("rows"), list) or "cpu" not in result:
            raise UserError(f"{path}: no result of the benchmark; run `python -m benchmarks {part}` again")
        if folder_name(result["cpu"]) != folder.name:
            raise UserError(f"{path}: measured on {result['cpu']}; move it to {folder_name(result['cpu'])}/")
    return results


def caption(results: Results) -> str:
    """How and on what one processor's results were measured."""
    [machine] = {result["cpu"] for result in results.values()}
    versions = ", ".join(sorted({result["versions"]["torch"] for result in results.values()}))
    rate = f", {results['limits']['rate'] / 1e9:.0f} GFLOP/s in float32" if "limits" in results else ""
    quick = " Quick mode: too few rounds to read." if any(result.get("quick") for result in results.values()) else ""
    return f"One thread of {machine}{rate}, torch {versions}; medians over rounds taken in turns.{quick}"
