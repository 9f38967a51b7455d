"""What a study file calls a task: a typed section that loads the task itself when it is needed.

The section is a class of its own so that a study can be read and hashed without loading data or PyTorch. It is
registered like a method (see `hdpo.study.registry`).
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hdpo.study.schema import Count, Section

if TYPE_CHECKING:
    from hdpo.study.study import Study
    from hdpo.tasks import Task


class Splits(Section):
    """How many problems each split holds; the splits share no problem."""

    train: Count
    development: Count  # selects checkpoints and tuned the regime, never read by a verdict
    validation: Count  # evaluated during training: "best over training" as the paper reports it
    test: Count  # evaluated once, by the final weights: what the verdicts read


class TaskConfig(Section, ABC):
    """The `task` section of a study."""

    name: str  # as study files write it; a subclass narrows it to a Literal
    problems: Splits
    hint: Literal["solution", "answer"] = "solution"  # y*: the whole reference solution, or its last step or answer

    @abstractmethod
    def load(self, study: "Study") -> "Task":
        """The task itself. Import what it needs here, not at the top of the module."""

    def files(self) -> list[Path]:
        """Every local file whose content decides what the task shows; a run's identity covers them."""
        return []

    @property
    def described(self) -> dict[str, Any]:
        """The section as a run's identity holds it. A subclass leaves out the places of its `files`."""
        return self.model_dump(mode="json")
