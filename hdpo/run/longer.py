"""Raising `train.steps`: a run goes on from the newest checkpoint of the same run with fewer steps."""

from dataclasses import replace

import torch
from torch import nn

from hdpo.run.checkpoint import Checkpoint, load_checkpoint
from hdpo.study.identity import content_hash
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.system.files import lock


def load_newest(run: Run, weights: dict[str, nn.Parameter], optimizer: torch.optim.AdamW) -> Checkpoint | None:
    """Restore the run's newest checkpoint, or else the newest of a shorter one. None where there is neither.

    Raises:
        UserError: there are checkpoints, but none is good; or another process trains the shorter run.
    """
    found = load_checkpoint(run.state_folder, run.hash, weights, optimizer)
    shorter = ranks.from_main(lambda: shorter_run(run)) if found is None else None
    if shorter is None:
        return found
    held = lock(shorter.state_folder / ".lock", f"run {run.name} seed {run.seed}") if ranks.is_main() else None
    try:
        found = load_checkpoint(shorter.state_folder, shorter.hash, weights, optimizer)
    finally:
        if held:
            held.release()
    return found and replace(found, earlier_steps=(*found.earlier_steps, shorter.study.train.steps))


def shorter_run(run: Run) -> Run | None:
    """The run that differs in nothing but fewer steps and has the newest checkpoint; None where there is none.

    The name of a state folder holds the run's hash, which covers the step count. So every smaller count is tried.
    """
    folders = run.state_folder.parent.glob(f"{run.name}-seed{run.seed}-*-{run.code}/step-*")
    newest: dict[str, str] = {}
    for step in sorted(folders):
        newest[step.parent.name.split("-")[-2]] = step.name
    resolved, found = run.resolved, {}
    for steps in range(1, run.study.train.steps) if newest else ():
        name = content_hash(resolved | {"train": resolved["train"] | {"steps": steps}})
        if name in newest:
            found[newest[name], steps] = with_steps(run, steps)
    return found[max(found)] if found else None


def with_steps(run: Run, steps: int) -> Run:
    """The same run with another number of training steps."""
    train = run.study.train.model_copy(update={"steps": steps})
    return run.model_copy(update={"study": run.study.model_copy(update={"train": train})})
