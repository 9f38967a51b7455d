"""Gives a process as many GPUs as its study declares, and none that another job of the kit holds.

Snakemake's `--resources gpu=N` limits how many jobs run at a time but assigns no GPUs. So each job locks the GPUs that
it takes; the locks end with the process. Slurm and torchrun assign GPUs themselves.
"""

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from filelock import BaseFileLock

from hdpo.system.errors import UserError
from hdpo.system.files import lock

VISIBLE = "CUDA_VISIBLE_DEVICES"
HELD: list[BaseFileLock] = []  # until the process ends


def claim_gpus(count: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Make exactly `count` GPUs visible to this process. Call it before CUDA is first used.

    With HDPO_SHARE_GPUS=1, GPUs that other jobs hold may be taken as well.

    Raises:
        UserError: the machine has fewer GPUs, or fewer free ones, than the study declares.
    """
    if count == 0:
        environment[VISIBLE] = ""
        return
    present = _visible(environment)
    if len(present) < count:
        raise UserError(
            f"hardware.gpus is {count}, but this process sees {len(present)} GPUs ({VISIBLE}="
            f"{environment.get(VISIBLE, 'unset')}); run it where there are enough, or lower hardware.gpus"
        )
    if "LOCAL_RANK" in environment:  # torchrun's parent process has chosen for all
        return
    assigned = "SLURM_JOB_ID" in environment  # Slurm numbers each job's GPUs from 0, so two jobs' GPU 0 may differ
    shared = assigned or environment.get("HDPO_SHARE_GPUS") == "1"
    environment[VISIBLE] = ",".join(present[:count] if shared else _free(present, count))


def _visible(environment: MutableMapping[str, str]) -> list[str]:
    """Indices or names of the GPUs that this process sees."""
    if VISIBLE in environment:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _free(present: list[str], count: int) -> list[str]:
    """Lock and return the first `count` GPUs that no other process of this user has locked."""
    folder = Path(tempfile.gettempdir()) / f"hdpo-gpus-{os.getuid()}"
    taken, held, busy = [], [], ""
    for name in present:
        try:
            held.append(lock(folder / f"{name}.lock", f"GPU {name}"))
            taken.append(name)
        except UserError as error:
            busy = str(error).split(";")[0]
        if len(taken) == count:
            HELD.extend(held)
            return taken
    for taken_lock in held:
        taken_lock.release()
    raise UserError(
        f"hardware.gpus is {count}, but only {len(taken)} of {len(present)} GPUs are free ({busy});"
        f" run fewer jobs at a time (--resources gpu={len(present)}), or share with HDPO_SHARE_GPUS=1"
    )
