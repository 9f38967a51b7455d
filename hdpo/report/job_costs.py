"""Where the time of a study went: wall time and memory of its jobs, and the seconds of each phase of a step."""

import heapq
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hdpo.render.table import make_table, write_table
from hdpo.report.captions import caption
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import write_json
from hdpo.system.provenance import provenance

PHASES = ("rollout", "reward", "privileged", "update", "total")


def job_costs(study: Study) -> pd.DataFrame:
    """Wall seconds and peak resident memory (MB) of each job, from Snakemake's benchmark files; empty without."""
    files = sorted((study.root / "benchmarks").glob("*.tsv"))
    rows = [pd.read_csv(path, sep="\t", na_values="-").assign(job=path.stem) for path in files]
    table = pd.concat(rows) if rows else pd.DataFrame(columns=["job", "s", "max_rss"])
    table = table[["job", "s", "max_rss"]].rename(columns={"s": "seconds", "max_rss": "peak_mb"})
    table["stage"] = table["job"].str.split("-").str[0]
    return table.reset_index(drop=True)


def stage_costs(jobs: pd.DataFrame) -> pd.DataFrame:
    """Jobs, their wall seconds (median and sum) and the largest job's memory, per stage and over all."""
    stages = pd.concat([jobs, jobs.assign(stage="all")]).groupby("stage", sort=False)
    return stages.agg(
        jobs=("job", "size"), median_s=("seconds", "median"), sum_s=("seconds", "sum"), peak_mb=("peak_mb", "max")
    ).reset_index()


def step_costs(study: Study) -> pd.DataFrame:
    """Median seconds of each phase of a step, and rollout tokens per second, per run and seed."""
    rows = []
    for path in sorted((study.root / "runs").glob("*/seed*/metrics.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        seconds = pd.DataFrame([record["seconds"] for record in records])
        tokens = pd.Series([record["tokens"]["rollout"] for record in records])
        row = {"run": path.parent.parent.name, "seed": path.parent.name.removeprefix("seed")}
        speed = float((tokens / seconds["rollout"]).median())
        rows.append(row | seconds[[*PHASES]].median().to_dict() | {"rollout_tokens_per_second": speed})
    return pd.DataFrame(rows)


def makespan(seconds: Sequence[float], cores: int) -> float:
    """Seconds until independent jobs of one core each are done, the longest started first."""
    free = [0.0] * cores
    for job in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)


def write_cost_table(study: Study, stem: Path) -> None:
    """Write the cost of each stage as a table, or nothing where no job was measured."""
    stages = stage_costs(job_costs(study))
    if len(stages):
        names = {"median_s": "median, s", "sum_s": "sum, s", "peak_mb": "peak memory, MB"}
        shown = stages.round({"median_s": 1, "sum_s": 0, "peak_mb": 0}).rename(columns=names)
        write_table(stem, stages, make_table("cost", shown, caption("cost", study=study.name)))


def write_cost(study: Study) -> Path:
    """Write cost.json into the study's folder of results and print its tables.

    Raises:
        UserError: nothing has been run yet.
    """
    jobs, steps = job_costs(study), step_costs(study)
    if not len(jobs) or not len(steps):
        raise UserError(f"{study.root}: no finished run with benchmark files; run the workflow first")
    medians = steps.groupby("run").median(numeric_only=True).round(4).reset_index()
    print(stage_costs(jobs).round(1).to_string(index=False), medians.to_string(index=False), sep="\n\n")
    out = study.root / "cost.json"
    tables = {"stages": stage_costs(jobs), "steps": medians, "jobs": jobs}
    records = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    write_json(out, provenance() | records)
    return out
