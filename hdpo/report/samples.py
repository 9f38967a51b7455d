"""The samples of a run as one reads them: by step and problem, student beside teacher."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from hdpo.render.terminal import visible
from hdpo.run.samples_file import SAMPLES, read_samples
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import verify_files

LIMITS = (0.01, 0.05, 0.1, 0.2, 0.4)  # nats of JSD from which a token has the next shade; the most is ln 2 = 0.69
KINDS = {
    "cliff": "a cliff: every rollout of the step fails",
    "mixed": "mixed: some rollouts of the step are right",
    "solved": "solved: every rollout of the step is right",
    "followed": "a cliff of an earlier sample, tried again after the step's update",
}


@dataclass(frozen=True)
class Response:
    """One try of student or teacher. `tokens` are text, JSD in nats (None: not finite) and shade, 0 to 5."""

    number: int
    reward: int
    kept: bool
    text: str
    tokens: list[tuple[str, float | None, int]]


@dataclass(frozen=True)
class Sampled:
    """One problem in one sample. Every text is printable; the teacher's part is empty where none was asked."""

    step: int
    problem: str
    kind: str
    prompt: str
    privileged: str
    student: list[Response]
    teacher: list[Response]


def find_samples(study: Study, run: str, seed: int) -> Path:
    """The samples of a finished run, or of one that is still in training or was stopped.

    Raises:
        UserError: there are none, or a finished run's have changed since.
    """
    folder = study.run(run, seed).folder
    if (folder / SAMPLES).is_file():
        verify_files(folder / "run.json", SAMPLES)
        return folder / SAMPLES
    unfinished = list((study.root / "state").glob(f"{run}-seed{seed}-*/{SAMPLES}"))
    if not unfinished:
        why = "samples is null in the study file" if study.samples is None else "train it first"
        raise UserError(f"{folder / SAMPLES}: missing; {why}")
    return max(unfinished, key=lambda path: path.stat().st_mtime)


def read(path: Path) -> list[Sampled]:
    """The samples of a file in the order in which they were taken."""
    rows = read_samples(path)
    parts = groupby(rows, key=lambda row: (row["step"], row["problem"], row["kind"]))
    return [_sampled(*key, list(part)) for key, part in parts]


def choose(samples: list[Sampled], step: int | None, problem: str | None) -> list[Sampled]:
    """Those of one step, of one problem, or both; all of them if neither is asked.

    Raises:
        UserError: there is none; names the steps or problems that there are.
    """
    found = [sample for sample in samples if step in (None, sample.step) and problem in (None, sample.problem)]
    if not found:
        there = [sample.problem for sample in samples if step in (None, sample.step)]
        if there and problem is not None:
            raise UserError(f"no sample of problem {problem!r}; there are {_some(there)}")
        raise UserError(f"no sample of step {step}; there are {_some(sample.step for sample in samples)}")
    return found


def shade(jsd: float | None) -> int:
    """From 0 (hardly any divergence) to 5."""
    return 0 if jsd is None else sum(jsd >= limit for limit in LIMITS)


def _some(names: Iterable[Any]) -> str:
    found = list(dict.fromkeys(map(str, names)))
    return ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "") if found else "none"


def _sampled(step: int, problem: str, kind: str, rows: list[dict[str, Any]]) -> Sampled:
    by_role = {role: [row for row in rows if row["role"] == role] for role in ("student", "teacher")}
    plain, privileged = (visible(part[0]["prompt"]) if part else "" for part in by_role.values())
    student, teacher = ([_response(row) for row in part] for part in by_role.values())
    return Sampled(step, visible(problem), kind, plain, privileged, student, teacher)


def _response(row: dict[str, Any]) -> Response:
    return Response(row["number"], row["reward"], bool(row["kept"]), visible(row["text"]), list(_tokens(row)))


def _tokens(row: dict[str, Any]) -> Iterator[tuple[str, float | None, int]]:
    for text, jsd in zip(row["tokens"] or (), row["jsd"] or (), strict=True):
        yield visible(text), jsd, shade(jsd)
