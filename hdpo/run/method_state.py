"""What a method keeps between steps, in a checkpoint: its memory, and the weights of a teacher that follows the policy.

Most methods keep nothing, and their checkpoints have no such file.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hdpo.learning.trainer import Trainer
from hdpo.system import ranks
from hdpo.system.files import read_json, write_json

MEMORY, TEACHER = "method.json", "teacher.safetensors"


class MethodState:
    """The state as it is now; every rank must make it, as shards are gathered, and rank 0 writes it."""

    def __init__(self, trainer: Trainer) -> None:
        self.memory, teacher = trainer.memory, trainer.teacher
        follows = teacher is not None and teacher.decay is not None
        self.weights = ranks.collect(teacher.model.named_parameters()) if teacher and follows else None

    def write(self, folder: Path) -> None:
        if self.memory:
            write_json(folder / MEMORY, self.memory)
        if self.weights is not None:
            save_file(self.weights, folder / TEACHER)


def restore_method(trainer: Trainer, folder: Path) -> None:
    """Put back what `MethodState.write` wrote; a folder without it is of a method that kept nothing."""
    if (folder / MEMORY).exists():
        trainer.memory |= read_json(folder / MEMORY)
    if trainer.teacher is not None and (folder / TEACHER).exists():
        saved = load_file(folder / TEACHER)
        with torch.no_grad():
            for name, weight in trainer.teacher.model.named_parameters():
                weight.copy_(ranks.place(saved[name], weight))
