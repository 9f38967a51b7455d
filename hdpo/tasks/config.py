"""The `task` sections of written problems, and the columns of their data sets. Reading a section loads no data."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from hdpo.study.schema import Natural, Place
from hdpo.study.task import TaskConfig

if TYPE_CHECKING:
    from hdpo.study.study import Study
    from hdpo.tasks import Task

CALCULATION = re.compile(r"<<[^>]*>>")  # GSM8K's notes to a calculator, as in 48/2=<<48/2=24>>24


class Row(NamedTuple):
    """One row, whatever the columns of its data set."""

    problem: str
    solution: str
    answer: str
    steps: int  # of calculation in the solution, 0 where it does not say


class MathTask(TaskConfig):
    """What the data sets of written problems share.

    `problems.train` is an upper bound: over-long prompts are dropped.
    """

    columns: ClassVar[tuple[str, ...]]  # that the data set must have, all text; the first holds the problem
    subset: ClassVar[str | None] = None  # its name on the hub, for a data set of several

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
        if self.revision is not None and self.is_local:
            raise ValueError("revision is a commit or tag of the hub, but path is a place here")
        return self

    @property
    def is_local(self) -> bool:
        """Whether `path` is a file or folder here rather than a name on the hub."""
        return self.path.startswith(("./", "../", "/", "~")) or Path(self.path).exists()

    @property
    def data_splits(self) -> tuple[str, ...]:
        """The data set's own splits that the problems come from."""
        raise NotImplementedError

    def read(self, texts: dict[str, str]) -> Row:
        """The columns of one row, by name, as a row of any data set."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        from hdpo.tasks.prompts import template_files
        from hdpo.tasks.rows import data_files

        local = [file for split in self.data_splits for file in data_files(self, split)] if self.is_local else []
        return [*template_files(self).values(), *local]

    @property
    def described(self) -> dict[str, Any]:
        """Without places in folders here: their content is the same wherever it lies. A hub name stays."""
        return self.model_dump(mode="json", exclude={"templates", "path"} if self.is_local else {"templates"})

    def load(self, study: "Study") -> "Task":
        from hdpo.tasks.math import WrittenMath

        return WrittenMath(study, self)


class OpenMathInstruct2(MathTask):
    """The paper's data set."""

    columns = ("problem", "generated_solution", "expected_answer")

    name: Literal["openmathinstruct2"]
    path: Place = "nvidia/OpenMathInstruct-2"
    split: Place = "train_1M"  # validation, test and development problems are held out of it too

    @property
    def data_splits(self) -> tuple[str, ...]:
        return (self.split,)

    def read(self, texts: dict[str, str]) -> Row:
        return Row(texts["problem"], texts["generated_solution"], texts["expected_answer"].strip(), steps=0)


class Gsm8k(MathTask):
    """Grade-school word problems. One column holds solution and answer, divided by ####."""

    columns = ("question", "answer")
    subset = "main"

    name: Literal["gsm8k"]
    path: Place = "openai/gsm8k"

    @property
    def data_splits(self) -> tuple[str, ...]:
        return ("train", "test")  # its own test problems are the study's

    def read(self, texts: dict[str, str]) -> Row:
        """The row with its answer in a box, as the prompt asks."""
        solution, _, answer = texts["answer"].rpartition("####")
        answer = answer.strip().replace(",", "")
        shown = f"{CALCULATION.sub('', solution).strip()}\nThe final answer is \\boxed{{{answer}}}."
        return Row(texts["question"], shown, answer, steps=len(CALCULATION.findall(solution)))
