"""The whole workflow: how long its last run took, stage by stage, and how busy it kept the cores."""

import json
import os
import sys
from typing import Any

from benchmarks.part import run_part
from benchmarks.side import STUDY
from hdpo.report.job_costs import job_costs, stage_costs
from hdpo.study.study import Study, load_study
from hdpo.system.errors import UserError

LAST = ("report.pdf", "summary.html")  # what the workflow makes last


def measure(quick: bool) -> dict[str, Any]:
    """Wall time of the last `snakemake --cores all`, split by stage; it must have run in one go."""
    return read(load_study(STUDY), cores=os.cpu_count() or 1)


def read(study: Study, cores: int) -> dict[str, Any]:
    """Wall seconds from the start of the first measured job to the last output, and jobs' seconds by stage.

    A job's benchmark file is written when it ends and holds its duration. Jobs without one (tables, figures, pages)
    count in `other_s`: the wall time that the measured jobs do not fill.

    Raises:
        UserError: the study has not been run to its end here, or its files hold more work than fits into the time,
            as copied ones do.
    """
    ends = [study.root / name for name in LAST]
    jobs = job_costs(study)
    if not len(jobs) or not all(path.is_file() for path in ends):
        raise UserError(f"{study.root}: no finished workflow with benchmark files; run `snakemake --cores all` first")
    starts = [
        path.stat().st_mtime - seconds
        for job, seconds in zip(jobs["job"], jobs["seconds"], strict=True)
        for path in [study.root / "benchmarks" / f"{job}.tsv"]
    ]
    wall = max(path.stat().st_mtime for path in ends) - min(starts)
    busy = float(jobs["seconds"].sum())
    if busy > wall * cores:
        raise UserError(
            f"{study.root}/benchmarks: not of one run here in one go; run `snakemake --cores all` from scratch first"
        )
    return {
        "study": study.name,
        "cores": cores,
        "wall_s": wall,
        "jobs_s": busy,
        "other_s": wall - busy / cores,
        "rows": json.loads(stage_costs(jobs).to_json(orient="records")),
    }


if __name__ == "__main__":
    sys.exit(run_part("whole", measure))
