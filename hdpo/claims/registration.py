"""Plans of studies, committed before their runs, and what departs from them.

Each file `hdpo/paper/plan*.yaml` holds a plan as data, and paper/preregistration.md says it in words. Records of runs
and the history of the repository show whether it was kept.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from hdpo.claims.claims import CLAIMS
from hdpo.claims.reported import PAPER
from hdpo.claims.results import Results
from hdpo.claims.sources import source_of
from hdpo.study.identity import content_hash
from hdpo.study.schema import Positive, Section, as_tuples
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import sha256
from hdpo.system.provenance import git

PLANS = PAPER  # the folder of plan*.yaml


class Planned(Section):
    """One study of the plan."""

    regime: str  # in words
    runs: str  # `runs_hash` of its runs
    margin: Positive | None = None  # points; a smaller difference does not matter


class Question(Section):
    """One contrast of two runs of a study, and the question that it answers."""

    kind: Literal["control", "ablation", "change"]  # another method; HDPO with a part changed; another setting
    ask: str
    what: str  # the run, in words
    run: str
    against: str
    study: str = "controls"  # what the names of its studies share: all but their last part, which tells the regime


class Registration(Section):
    """The plan: what runs, by which rules, and what departed from it since."""

    studies: dict[str, Planned]
    questions: tuple[Question, ...] = ()
    claims: str | None = None  # SHA-256 of claims.yaml, where contrasts and rules stand in it
    deviations: tuple[str, ...] = ()  # date and reason each; the only part that may grow


def read_plan(path: Path, text: str | None = None) -> Registration:
    """The plan in a file, or in `text`, which an earlier version of the file held.

    Raises:
        UserError: it cannot be read, or is not a plan.
    """
    try:
        text = path.read_text(encoding="utf-8") if text is None else text
        return Registration.model_validate(as_tuples(yaml.safe_load(text)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{path}: not a plan ({' '.join(str(error).split())[:160]})") from error


def plan_of(study: Study) -> tuple[Path, Registration] | None:
    """The plan that names the study, and its file; None if there is none.

    Raises:
        UserError: a plan is damaged.
    """
    plans = ((path, read_plan(path)) for path in sorted(PLANS.glob("plan*.yaml")))
    return next(((path, plan) for path, plan in plans if study.name in plan.studies), None)


def regime(study: Study) -> str:
    """The regime of a planned study in words; the name of any other."""
    planned = plan_of(study)
    return planned[1].studies[study.name].regime if planned else study.name


def runs_hash(study: Study) -> str:
    """Identity of all planned runs of a study and of their final evaluation."""
    runs = [study.run(name, seed).hash for name in study.runs for seed in study.seeds]
    return content_hash([runs, study.base_hash, study.evaluate.model_dump(mode="json")])


def departures(study: Study) -> list[str]:
    """What departs from the plan, a sentence each; empty for a study that the plan does not name.

    A run departs if the commit that made it does not descend from the plan's. Where the history is not at hand, this
    cannot be seen, and a sentence says so.

    Raises:
        UserError: the plan or a record is damaged.
    """
    planned = plan_of(study)
    if planned is None:
        return []
    path, plan = planned
    found = [f"Noted in the plan: {deviation}" for deviation in plan.deviations]
    if plan.studies[study.name].runs != runs_hash(study):
        found.append("The study's runs are not the planned ones: its file or its data have changed since.")
    if plan.claims not in (None, sha256(CLAIMS)):
        found.append("claims.yaml is not the planned one.")
    source = source_of(study)
    made: dict[tuple[str | None, bool | None], list[str]] = {}
    seeds_of: dict[str, set[int]] = {}  # by processor
    for run in study.runs:
        for seed in study.seeds:
            if known := source.record("training", run, seed):
                record = known[1]
                made.setdefault((record.get("commit"), record.get("dirty")), []).append(f"{run} seed {seed}")
                seeds_of.setdefault(str(record.get("cpu")), set()).add(seed)
    return found + _processors(seeds_of) + _history(path, plan, made)


def remarks(results: Iterable[Results]) -> tuple[str, ...]:
    """What stands beside tables over several studies: results of two codes, and what departs from a plan.

    Raises:
        UserError: a plan or a record is damaged.
    """
    found = list(results)
    codes = [part.codes for part in found if part.codes]
    return (*codes, *(f"{part.study.name}: {line}" for part in found for line in departures(part.study)))


def _processors(seeds_of: dict[str, set[int]]) -> list[str]:
    """A sentence if runs come from several processors, whose rounding differs; it names seeds with runs of both."""
    if len(seeds_of) < 2:
        return []
    parts = "; ".join(f"{processor}: {_seeds(seeds)}" for processor, seeds in seeds_of.items())
    split = {seed for seed, times in Counter(chain(*seeds_of.values())).items() if times > 1}
    pairs = f"pairs of {_seeds(split)} mix them" if split else "all runs of a seed share one"
    return [f"Runs of {len(seeds_of)} processors, {pairs} ({parts})."]


def _seeds(seeds: set[int]) -> str:
    listed = sorted(seeds)
    if len(listed) > 2 and listed[-1] - listed[0] == len(listed) - 1:
        return f"seeds {listed[0]} to {listed[-1]}"
    return f"seed{'s' * (len(listed) > 1)} {', '.join(map(str, listed))}"


def _history(path: Path, plan: Registration, made: dict[tuple[str | None, bool | None], list[str]]) -> list[str]:
    """Departures that the repository shows; `made` holds runs by commit and by whether the tree was dirty."""
    folder = path.parent
    first = (git("log", "--diff-filter=A", "--format=%H", "--", path.name, folder=folder) or "").split()[-1:]
    if not first:
        return (
            ["The history is not at hand: whether the plan is older than the runs cannot be seen here."] if made else []
        )
    then = read_plan(path, git("show", f"{first[0]}:./{path.name}", folder=folder))
    found = []
    if plan.model_copy(update={"deviations": ()}) != then.model_copy(update={"deviations": ()}):
        found.append(f"{path.name} has changed in more than its deviations since it was committed.")
    for (commit, dirty), runs in made.items():
        known = commit and git("cat-file", "-t", commit, folder=folder) == "commit"
        shown = runs[0] if len(runs) == 1 else f"{len(runs)} runs, such as {runs[0]}"
        if not known:
            found.append(f"{shown}: made by commit {commit}, which this history does not hold.")
        elif git("merge-base", "--is-ancestor", first[0], str(commit), folder=folder) is None:
            found.append(f"{shown}: made by commit {str(commit)[:10]}, which does not descend from the plan.")
        if dirty:
            found.append(f"{shown}: made with uncommitted changes.")
    return found
