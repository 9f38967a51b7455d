"""Checkpoints: whole or absent, checked by hash, nothing pickled.

A checkpoint is a folder `step-000040/` that needs nothing beside it: the weights in float32, AdamW's moments, metrics,
evaluations and samples so far, and a record with the run's hash and the SHA-256 of every file. Generators need no
saving (see `hdpo.system.rng`), and the schedule is a function of the step. If a checkpoint is damaged, training says
so and uses the one before it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hdpo.run.method_state import MEMORY, TEACHER
from hdpo.run.samples_file import SAMPLES
from hdpo.system import ranks
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, remove, verify_files, write_atomic, write_record

WEIGHTS, MOMENTS, METRICS, EVALS = "policy.safetensors", "optimizer.safetensors", "metrics.jsonl", "evals.parquet"
FILES = (WEIGHTS, MOMENTS, METRICS, EVALS)
KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands: after `step` steps, with the metrics, evaluations and samples that lie in `folder`."""

    step: int
    folder: Path
    earlier_steps: tuple[int, ...] = ()  # values of `train.steps` before it was raised, as in the run's record


def save_checkpoint(
    folder: Path,
    step: int,
    run_hash: str,
    weights: dict[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
    write_logs: Callable[[Path], Any],
    earlier_steps: Sequence[int] = (),
) -> None:
    """Save the state after `step` steps, with what `write_logs` adds, and drop all but the newest `KEEP` checkpoints.

    Called by every rank, as shards are gathered; rank 0 writes, so that any number of ranks can go on from there.
    """
    moments, whole = ranks.collect(_moments(weights, optimizer)), ranks.collect(weights.items())

    def write(out: Path) -> None:
        out.mkdir()
        save_file(whole, out / WEIGHTS)
        save_file(moments, out / MOMENTS)
        write_logs(out)
        state = {"step": step, "run_hash": run_hash, "earlier_steps": list(earlier_steps)}
        write_record(out / "state.json", state, list(out.iterdir()))

    ranks.from_main(lambda: write_atomic(folder / f"step-{step:06d}", write))
    if ranks.is_main():
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            remove(old)


def load_checkpoint(
    folder: Path, run_hash: str, weights: dict[str, nn.Parameter], optimizer: torch.optim.AdamW
) -> Checkpoint | None:
    """Restore the newest good checkpoint in `folder`; None where there is no checkpoint at all.

    Damaged ones are named on stderr and, once one before them is found good, removed. Rank 0 looks, all read.

    Raises:
        UserError: there are checkpoints, but none is good.
    """
    found = ranks.from_main(lambda: _newest_good(folder, run_hash))
    if found is not None:
        _restore(found.folder, weights, optimizer)
    return found


def _newest_good(folder: Path, run_hash: str) -> Checkpoint | None:
    for leftover in folder.glob(".*.tmp"):  # of a process that was killed: the caller holds the run's lock
        remove(leftover)
    damaged: list[Path] = []
    for found in sorted(folder.glob("step-*"), reverse=True):
        try:
            checkpoint = _verified(found, run_hash)
        except UserError as error:
            print(f"hdpo: damaged checkpoint: {error}", file=sys.stderr, flush=True)
            damaged.append(found)
            continue
        for bad in damaged:
            remove(bad)
            print(f"hdpo: {bad}: removed; going on from {found.name}", file=sys.stderr, flush=True)
        return checkpoint
    if damaged:
        raise UserError(f"{folder}: no usable checkpoint ({len(damaged)} damaged); delete that folder to train again")
    return None


def _verified(folder: Path, run_hash: str) -> Checkpoint:
    """The checkpoint in `folder`, every file of it compared with its hash.

    Raises:
        UserError: it belongs to another config, or a file of it is missing, truncated or altered.
    """
    state = read_record(folder / "state.json")
    stated, files = state.keys() - {"earlier_steps"}, state["files"].keys() - {SAMPLES, MEMORY, TEACHER}
    if stated != {"step", "run_hash", "files"} or files != set(FILES):
        raise UserError(f"{folder}/state.json: does not state step, run hash and the hashes of {', '.join(FILES)}")
    if state["run_hash"] != run_hash:
        raise UserError(f"{folder}: belongs to another config, this one is {run_hash}")
    if folder.name != f"step-{state['step']:06d}":
        raise UserError(f"{folder}: says it is of step {state['step']}")
    verify_files(folder / "state.json")
    return Checkpoint(state["step"], folder, tuple(state.get("earlier_steps", ())))


def _restore(folder: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.AdamW) -> None:
    saved, moments = load_file(folder / WEIGHTS), load_file(folder / MOMENTS)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(ranks.place(saved[name], weight))
            if f"{name}/exp_avg" in moments:
                optimizer.state[weight] = {
                    key: ranks.place(moments[f"{name}/{key}"], weight) for key in ("exp_avg", "exp_avg_sq")
                } | {"step": moments[f"{name}/step"].to(weight.device)}


def _moments(weights: dict[str, nn.Parameter], optimizer: torch.optim.AdamW) -> Iterator[tuple[str, torch.Tensor]]:
    for name, weight in weights.items():
        for key, value in optimizer.state.get(weight, {}).items():
            yield f"{name}/{key}", value
