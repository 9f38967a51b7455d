"""Study files of version 0.1: refused with a line that says how to change them."""

from pathlib import Path
from typing import Any

from hdpo.system.errors import UserError

KEYS = {
    "sweep": "list the runs under `methods`",
    "distill": "move its keys to the hdpo entry of `methods`, and offload_teacher to `hardware`",
}
TRAIN_KEYS = ("clip", "importance_cap", "baseline", "normalize_advantages")


def refuse_old_form(path: str | Path, raw: dict[str, Any]) -> None:
    """Say in one line how a study file of version 0.1 must change."""
    train = raw.get("train")
    moved = [key for key in TRAIN_KEYS if isinstance(train, dict) and key in train]
    for key, change in KEYS.items():
        if key in raw:
            raise UserError(f"config {path}: {key}: is of the old form; {change}, as in config/small.yaml")
    if moved:
        raise UserError(f"config {path}: train.{moved[0]}: is now a parameter of grpo and hdpo; move it to `methods`")
