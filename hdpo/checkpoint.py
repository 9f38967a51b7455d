"""Checkpoints: whole or absent, checked by hash, nothing pickled.

A checkpoint is a folder `step-000040/` with the weights, AdamW's moments and a state file that carries the run's
hash and the SHA-256 of the other files. Generators need no saving (see `hdpo.rng`), and the schedule is a function
of the step.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hdpo.errors import UserError
from hdpo.files import read_json, remove, sha256, write_atomic, write_json

TENSOR_FILES = ("policy.safetensors", "optimizer.safetensors")
KEEP = 2


def save_checkpoint(folder: Path, step: int, run_hash: str, model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Save the state after `step` steps and drop all but the newest `KEEP` checkpoints."""

    def write(out: Path) -> None:
        out.mkdir()
        weights = {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}
        save_file(weights, out / "policy.safetensors")
        save_file(_moments(model, optimizer), out / "optimizer.safetensors")
        hashes = {name: sha256(out / name) for name in TENSOR_FILES}
        write_json(out / "state.json", {"step": step, "run_hash": run_hash, "sha256": hashes})

    write_atomic(folder / f"step-{step:06d}", write)
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        remove(old)


def load_checkpoint(folder: Path, run_hash: str, model: nn.Module, optimizer: torch.optim.AdamW) -> int:
    """Restore the newest checkpoint in `folder` and return its step; 0 where there is none.

    Raises:
        UserError: it belongs to another config, or a file of it is missing, truncated or altered.
    """
    found = sorted(folder.glob("step-*"))
    if not found:
        return 0
    newest = found[-1]
    advice = "; delete that folder to go on from the checkpoint before it"
    state = read_json(newest / "state.json")
    if not isinstance(state, dict) or state.get("run_hash") != run_hash:
        raise UserError(f"checkpoint {newest}: belongs to another config, this one is {run_hash}{advice}")
    for name in TENSOR_FILES:
        if not (newest / name).is_file() or sha256(newest / name) != state.get("sha256", {}).get(name):
            raise UserError(f"checkpoint {newest}: {name} is missing, truncated or altered{advice}")
    if newest.name != f"step-{state['step']:06d}":
        raise UserError(f"checkpoint {newest}: says it is of step {state['step']}{advice}")
    weights = load_file(newest / "policy.safetensors")
    moments = load_file(newest / "optimizer.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
            if f"{name}/exp_avg" in moments:
                keys = ("step", "exp_avg", "exp_avg_sq")
                optimizer.state[parameter] = {key: moments[f"{name}/{key}"].to(parameter.device) for key in keys}
    return state["step"]


def _moments(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": value.contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
