"""The `task` section of written problems: any file of them, and two presets. Reading a section loads no data."""

import re
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from hdpo.study.schema import Natural, NonNegative, Place, Section
from hdpo.study.task import TaskConfig

if TYPE_CHECKING:
    from hdpo.study.study import Study
    from hdpo.tasks.written import WrittenTask

CALCULATION = re.compile(r"<<[^>]*>>")  # GSM8K's notes to a calculator, as in 48/2=<<48/2=24>>24
VERIFIERS = ("hf_math_verify", "boxed", "exact", "numeric")  # hdpo.tasks.grading and hdpo.tasks.verifiers
INSTALLED = "hdpo.verifiers"  # the entry point group of further ones


class Row(NamedTuple):
    """One row, whatever the columns of its file."""

    problem: str
    answer: str
    solution: str
    id: str = ""  # "": made from the problem's wording and the row's number
    steps: int = 0  # of calculation in the solution, where it says


class Written(TaskConfig):
    """What `problems` and its presets share. `problems.train` is an upper bound: rows that do not fit are left out."""

    needed: ClassVar[tuple[str, ...]]  # the columns to read; the first holds the problem
    places: ClassVar[tuple[str, ...]]  # files or names of splits: the problems, and own test problems if there are any

    path: Place | None = None  # a folder or a name on the hub; a preset's may be a file
    revision: Place | None = None  # the hub's commit or tag; null: its newest
    seed: Natural  # of the split
    train_share: Annotated[float, Field(gt=0, lt=1)]  # of the rows; the rest is held out
    repeated_problems: Literal["keep", "drop"] = "keep"  # keep: split by row, as the base framework does
    reward: str  # the verifier: one of VERIFIERS, or an installed package's
    tolerance: NonNegative | None = None  # of `numeric`, times the answer where that is above 1; null: 1e-6
    reward_timeout: Annotated[float, Field(gt=0, le=3600)] = 5.0  # seconds for one answer
    hint: Literal["solution", "answer"]  # y*: the worked solution or the final answer
    templates: Place | None = None  # a folder with student.txt and <hint>.txt; null: the kit's own

    @model_validator(mode="after")
    def _possible(self) -> "Written":
        known = [*VERIFIERS, *sorted(point.name for point in entry_points(group=INSTALLED))]
        if self.reward not in known:
            raise ValueError(f"reward: no verifier {self.reward[:60]!r}; choose from {', '.join(known)}")
        if self.revision is not None and self.is_local:
            raise ValueError("revision is a commit or tag of the hub, but path is a place here")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the files lie here rather than on the hub."""
        return self.path is None or self.path.startswith(("./", "../", "/", "~")) or Path(self.path).exists()

    def read(self, *texts: str) -> Row:
        """One row, from its texts in the `needed` columns."""
        problem, answer, solution, *name = texts
        return Row(problem, answer, solution, "".join(name))

    def files(self) -> list[Path]:
        from hdpo.tasks.prompts import template_files
        from hdpo.tasks.rows import data_files

        found = [file for place in self.places for file in data_files(self, place)] if self.is_local else []
        verifiers = [find_spec(point.module) for point in entry_points(group=INSTALLED, name=self.reward)]
        code = [Path(spec.origin) for spec in verifiers if spec and spec.origin]
        return [*template_files(self).values(), *found, *code]

    @property
    def described(self) -> dict[str, Any]:
        """Without places in folders here: their content is the same wherever it lies. A hub name stays."""
        return self.model_dump(mode="json", exclude={"templates", "path", "data"} if self.is_local else {"templates"})

    def load(self, study: "Study") -> "WrittenTask":
        from hdpo.tasks.written import WrittenTask

        return WrittenTask(study, self)


class Files(Section):
    """Files here; or, with `task.path`, files or splits of that folder or data set."""

    train: Place
    test: Place | None = None  # null: the test problems are held out of `train`


class Columns(Section):
    """What a file calls its columns."""

    problem: str
    answer: str
    solution: str | None = None
    id: str | None = None  # null: a problem is named after its wording and its row


class Problems(Written):
    """Problems of your own: Parquet, JSON lines or CSV, here or on the hub."""

    name: Literal["problems"]
    data: Files = Field(alias="files")
    columns: Columns
    seed: Natural = 0
    train_share: Annotated[float, Field(gt=0, lt=1)] = 0.8
    repeated_problems: Literal["keep", "drop"] = "drop"
    reward: str = "hf_math_verify"

    @model_validator(mode="after")
    def _whole(self) -> "Problems":
        if self.data.train == self.data.test:
            raise ValueError("files.test is files.train; leave it out, and test problems are held out of files.train")
        if self.hint == "solution" and self.columns.solution is None:
            raise ValueError("hint is solution, but columns.solution names no column; name it, or set hint: answer")
        return self

    @property
    def places(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(filter(None, (self.data.train, self.data.test)))

    @property
    def needed(self) -> tuple[str, ...]:  # type: ignore[override]
        columns = self.columns
        return (columns.problem, columns.answer, (self.hint == "solution" and columns.solution) or "", columns.id or "")


class OpenMathInstruct2(Written):
    """The paper's data set."""

    name: Literal["openmathinstruct2"]
    path: Place = "nvidia/OpenMathInstruct-2"
    split: Place = "train_1M"  # validation, test and development problems are held out of it too

    needed = ("problem", "expected_answer", "generated_solution")

    @property
    def places(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.split,)


class Gsm8k(Written):
    """Grade-school word problems. One column holds solution and answer, divided by ####."""

    name: Literal["gsm8k"]
    path: Place = "openai/gsm8k"

    needed, places = ("question", "answer"), ("train", "test")

    def read(self, *texts: str) -> Row:
        """The row with its answer in a box, as the prompt asks."""
        solution, _, answer = texts[1].rpartition("####")
        answer = answer.strip().replace(",", "")
        shown = f"{CALCULATION.sub('', solution).strip()}\nThe final answer is \\boxed{{{answer}}}."
        return Row(texts[0], answer, shown, steps=len(CALCULATION.findall(solution)))
