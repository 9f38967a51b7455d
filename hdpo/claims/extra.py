"""Runs made by hand, outside the study's list: finished runs of its configuration beside the planned ones."""

from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_record


def extra_seeds(study: Study) -> dict[str, tuple[int, ...]]:
    """Seeds beyond the plan by run name: of runs that are not planned, and more seeds of those that are.

    A folder counts if the study accepts its name and its run.json carries the hash of that run; others are left alone.

    Raises:
        UserError: a run.json is damaged.
    """
    planned = {(run, seed) for run in study.runs for seed in study.seeds}
    found: dict[str, list[int]] = {}
    for path in sorted((study.root / "runs").glob("*/seed*/run.json")):
        name, digits = path.parts[-3], path.parts[-2].removeprefix("seed")
        if not (digits.isascii() and digits.isdigit()) or (name, int(digits)) in planned:
            continue
        try:
            run = study.run(name, int(digits))
        except UserError:
            continue
        if run.folder == path.parent and read_record(path).get("run_hash") == run.hash:
            found.setdefault(name, []).append(run.seed)
    return {name: tuple(sorted(seeds)) for name, seeds in found.items()}
