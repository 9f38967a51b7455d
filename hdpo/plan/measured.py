"""Compares the plan with finished runs."""

from pathlib import Path

from hdpo.plan.cost import run_seconds
from hdpo.plan.workload import assumptions, workload
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_json


def compare(study: Study, folder: Path, hardware: str, changes: dict[str, float] | None = None) -> list[dict]:
    """Planned (likely) and measured tokens and seconds of the finished runs under `folder`.

    Seconds only where the run was on the same kind of hardware, CPU or GPU, and not interrupted. `is_current`: the
    run was made by the study as it is now.

    Raises:
        UserError: a damaged run.json.
    """
    found = []
    for path in sorted(folder.glob("*/*/run.json")):
        record = read_json(path)
        try:
            name, seed, tokens = record["run"], record["seed"], record["tokens"]
            timed = (record["gpu"] is None) == (hardware == "cpu") and not record["resumed_after_step"]
            taken, run_hash = record["seconds"], record["run_hash"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged, {error} is missing") from error
        run = study.run(name, seed)
        planned = workload(study, assumptions(study, "likely", changes), run.method).tokens()
        pairs = {f"{kind} tokens": (planned[kind], tokens[kind]) for kind in tokens if planned.get(kind)}
        if timed:
            seconds = run_seconds(study, hardware, "likely", run.method, changes)
            pairs["seconds"] = (sum(seconds.values()) - seconds["test"], taken)
        for quantity, (plan, value) in pairs.items():
            row = {"run": name, "is_current": run.hash == run_hash, "quantity": quantity}
            found.append(row | {"planned": plan, "measured": value})
    return found
