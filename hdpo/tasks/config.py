"""The `task` sections of written problems: every key, its type and its range. Reading one loads no data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from hdpo.study.schema import Natural, Place
from hdpo.study.task import TaskConfig

if TYPE_CHECKING:
    from hdpo.study.study import Study
    from hdpo.tasks import Task


class MathTask(TaskConfig):
    """What the data sets of written problems share.

    `problems.train` is an upper bound: over-long prompts are dropped.
    """

    path: Place  # a name on the hub, or a local file or folder of Parquet or JSON lines of the same columns
    revision: Place | None = None  # the hub's commit or tag; null: its newest
    seed: Natural  # of the split
    train_share: Annotated[float, Field(gt=0, lt=1)]  # of the rows; the rest is held out
    repeated_problems: Literal["keep", "drop"] = "keep"  # keep: split by row, as the base framework does
    reward: Literal["hf_math_verify", "boxed"]  # the base framework's reading of an answer, or the last box only
    reward_timeout: Annotated[float, Field(gt=0, le=3600)] = 5.0  # seconds for one answer
    hint: Literal["solution", "answer"]  # y*: the worked solution or the final answer
    templates: Place | None = None  # a folder with student.txt and <hint>.txt; null: the kit's own

    @model_validator(mode="after")
    def _revision(self) -> "MathTask":
        from hdpo.tasks.sources import is_local

        if self.revision is not None and is_local(self):
            raise ValueError("revision is a commit or tag of the hub, but path is a place here")
        return self

    @property
    def data_splits(self) -> tuple[str, ...]:
        """The data set's own splits that the problems come from."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        from hdpo.tasks.sources import read_files

        return read_files(self)

    def load(self, study: "Study") -> "Task":
        from hdpo.tasks.math import WrittenMath

        return WrittenMath(study)


class OpenMathInstruct2(MathTask):
    """The paper's data set."""

    name: Literal["openmathinstruct2"]
    path: Place = "nvidia/OpenMathInstruct-2"
    split: Place = "train_1M"  # validation, test and development problems are held out of it too

    @property
    def data_splits(self) -> tuple[str, ...]:
        return (self.split,)


class Gsm8k(MathTask):
    """Grade-school word problems."""

    name: Literal["gsm8k"]
    path: Place = "openai/gsm8k"

    @property
    def data_splits(self) -> tuple[str, ...]:
        return ("train", "test")  # its own test problems are the study's
