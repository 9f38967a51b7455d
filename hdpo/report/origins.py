"""Where the numbers of a study come from: the record of every training run, the machines, and the base model."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError, safe_open

from hdpo.claims.codes import codes_line
from hdpo.claims.reader import Reader, extra_seeds
from hdpo.render.formats import NOT_RUN, thousands
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table
from hdpo.report.captions import caption
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, sha256

MACHINE = ("versions", "cpu", "gpu", "threads", "processes")  # what makes two runs comparable byte for byte


def origins(study: Study) -> dict[str, Any]:
    """The study's identity, one row per planned or extra run, the distinct machines and commits, and the base model.

    Raises:
        UserError: a record is damaged, or of another run or configuration; names the file.
    """
    reader, rows, records, machines = Reader(study), [], [], []
    planned = [(name, seed) for name in study.runs for seed in study.seeds]
    extra = [(name, seed) for name, seeds in extra_seeds(study).items() for seed in seeds]
    for key in [*planned, *extra]:
        record = reader.record(*key)
        rows.append(_row(study, reader, *key, record or {}))
        if record is not None:
            machine = {part: record.get(part) for part in MACHINE}
            machines += [machine] if machine not in machines else []
            rows[-1] |= {"machine": 1 + machines.index(machine), "status": "extra" if key in extra else "complete"}
            records.append(record)
    seconds = [row["seconds"] for row in rows if row["status"] == "complete" and row["seconds"] is not None]
    return {
        "study": study.name,
        "config_hash": study.identity,
        "seeds": list(study.seeds),
        "runs": rows,
        "complete": len(records) - len(extra),
        "planned": len(planned),
        "machines": machines,
        "codes": codes_line(study, [(BASE_RUN, 0), *planned, *extra]),
        "commits": list(dict.fromkeys(record["commit"] for record in records if record.get("commit"))),
        "dirty": any(record.get("dirty") for record in records),
        "started": min((record["started"] for record in records if record.get("started")), default=None),
        "seconds": round(sum(seconds)) if seconds else None,
        "base": base_model(study),
    }


def runs_table(found: dict[str, Any]) -> Table:
    """Every training run, from `origins`."""
    rows = []
    for run in found["runs"]:
        resumed = f" (resumed after step {run['resumed']})" if run["resumed"] else ""
        row = {"run": run["label"], "seed": run["seed"], "configuration": run["hash"], "state": run["status"] + resumed}
        row |= {"machine": run["machine"] or "—", "commit": (run["commit"] or "—")[:10]}
        row["commit"] += " (dirty)" if run["dirty"] else ""
        row["started (UTC)"] = (run["started"] or "—")[:16].replace("T", " ")
        row |= {"wall, s": thousands(run["seconds"]), "rollout tokens": thousands(run["rollout_tokens"])}
        rows.append(row | {"privileged tokens": thousands(run["privileged_tokens"])})
    words = ["run", "configuration", "state", "commit", "started (UTC)"]
    return make_table("runs", pd.DataFrame(rows), caption("runs"), words=words)


def base_model(study: Study) -> dict[str, Any]:
    """Path or hub name, and for a local model its SHA-256, parameter count and training record."""
    folder = Path(study.base_path)
    weights = folder / "model.safetensors"
    found = {"path": study.base_path, "local": study.base_is_local, "sha256": None, "parameters": None, "record": None}
    if not (study.base_is_local and weights.is_file()):
        return found
    found |= {"sha256": sha256(weights), "parameters": parameter_count(weights)}
    if (folder / "provenance.json").exists():
        record = read_record(folder / "provenance.json")
        found["record"] = {key: record.get(key) for key in ("started", "commit", "dirty", "seconds", "final_loss")}
    return found


def parameter_count(weights: Path) -> int:
    """Number of parameters that a safetensors file stores, from its header alone.

    Raises:
        UserError: not a safetensors file.
    """
    try:
        with safe_open(weights, "numpy") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: not a safetensors file") from error


def _row(study: Study, reader: Reader, name: str, seed: int, record: dict[str, Any]) -> dict[str, Any]:
    row = {"run": name, "label": run_label(name), "seed": seed, "hash": study.run(name, seed).hash}
    row |= {"status": NOT_RUN, "machine": None}
    row |= {key: record.get(key) for key in ("commit", "dirty", "started", "seconds")}
    row["resumed"] = record.get("resumed_after_step")
    metrics = reader.metrics(name, seed)
    for kind in ("rollout", "privileged"):
        row[f"{kind}_tokens"] = None if metrics is None else int(metrics[f"tokens.{kind}"].sum())
    return row
