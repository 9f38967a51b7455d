"""Trains the first steps of published runs again and compares them with the published ones, step by step.

A schedule that is constant after its warm-up, random numbers by name, and no state outside the run make the first steps
of a run the same whatever comes after. So a laptop can check a sample of the evidence in minutes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hdpo.claims.sources import Published
from hdpo.learning.trainer import Trainer
from hdpo.render.table import make_table, write_table
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_json, write_json
from hdpo.system.progress import progress
from hdpo.system.provenance import processor, provenance

EQUAL = ("reward", "loss", "entropy", "response_length", "cliffs", "demonstrations")  # what must not differ in a bit
MEANS = ("reward", "entropy", "response_length")  # whose means over the steps are compared where something does
NEAR = 0.05  # largest distance of such a mean that another processor's rounding may cause, as a share of the mean


def repeat_path(study: Study, run: str, seed: int) -> Path:
    """Where the outcome of one comparison goes."""
    return study.root / "repeat" / f"{run}-seed{seed}.json"


def repeat_run(study: Study, name: str, seed: int) -> Path:
    """Train the first `repeat.steps` steps of a published run and write how far they lie from the published ones.

    Raises:
        UserError: the study says nothing to repeat, or the run is not published.
    """
    if study.repeat is None:
        raise UserError(f"study {study.name}: has no section repeat, with runs, seeds and steps")
    source = Published(study)
    steps, curves, made = study.repeat.steps, source.metrics(name, seed), source.record("training", name, seed)
    if curves is None or made is None:
        raise UserError(f"{source.root}: run {name} seed {seed} is not published")
    torch.set_num_threads(study.hardware.threads_per_rank)
    run = study.run(name, seed)
    trainer = Trainer(run)
    fresh = pd.json_normalize([trainer.step(step) for step in progress(range(steps), f"run {name} seed {seed}")])
    write_json(
        repeat_path(study, name, seed),
        provenance()
        | {"run": name, "seed": seed, "steps": steps, "same_configuration": made[1].get("run_hash") == run.hash}
        | {"same_code": made[1].get("code") == run.code, "same_processor": made[1].get("cpu") == processor()}
        | compare_steps(fresh, curves[1][:steps]),
    )
    return repeat_path(study, name, seed)


def compare_steps(fresh: pd.DataFrame, published: pd.DataFrame) -> dict[str, Any]:
    """First step that is not equal (None: all are), and the largest distance of a mean, as a share of it."""
    ours, theirs = (frame[[*EQUAL]].to_numpy("float32") for frame in (fresh, published))
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    unequal = np.flatnonzero(~same.all(axis=1))
    means = published[[*MEANS]].mean()
    away = ((fresh[[*MEANS]].mean() - means) / means).abs().max()
    return {"first_unequal_step": int(unequal[0]) if len(unequal) else None, "distance": float(away)}


def write_repeat(study: Study) -> Path:
    """Write repeat.csv, .md, .tex and .json from the comparisons that are there, and print them.

    Raises:
        UserError: none is there.
    """
    records = [read_json(path) for path in sorted((study.root / "repeat").glob("*-seed*.json"))]
    if not records:
        raise UserError(f"{study.root}/repeat: no comparison there; run `hdpo repeat STUDY --run … --seed …`")
    columns = ["run", "seed", "steps", "same_code", "same_processor", "first_unequal_step", "distance"]
    frame = pd.DataFrame(records)[columns].astype({"first_unequal_step": "Int64"})
    near = frame["distance"].le(NEAR).map({True: "near", False: "differs"})
    frame["result"] = near.where(frame["first_unequal_step"].notna(), "equal")
    counts = frame["result"].value_counts()
    line = ", ".join(f"{count} {result}" for result, count in counts.items())
    table = make_table("repeat", frame, f"The first steps of {len(frame)} published runs, trained again: {line}.")
    write_table(study.root / "repeat" / "repeat", frame, table)
    print(table.caption)
    return study.root / "repeat" / "repeat.md"
