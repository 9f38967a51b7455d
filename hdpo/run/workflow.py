"""What the Snakefile asks of a study: read it or stop, lock it, run identities, the weights that a test needs."""

import errno
import re
import shutil
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from filelock import BaseFileLock

import hdpo
from hdpo.study.study import BASE_RUN, Study, load_study
from hdpo.system.errors import UserError
from hdpo.system.files import disk_error, lock, read_json
from hdpo.tasks.checks import check_task

LINE = 5000  # characters; reStructuredText allows 10,000
HELD: list[BaseFileLock] = []  # until the process ends


def load_study_or_exit(path: str | Path) -> Study:
    """`load_plannable`, where a mistake ends in one line and exit code 2, not in a traceback."""
    try:
        return load_plannable(path)
    except UserError as error:
        _refuse(error)


def _refuse(line: UserError | str) -> NoReturn:
    """One line, and exit code 2."""
    print(f"hdpo: {line}", file=sys.stderr, flush=True)
    sys.exit(2)


def load_plannable(path: str | Path) -> Study:
    """`load_study`, and a first look at all that planning reads, so that it fails before Snakemake is in its midst.

    Raises:
        UserError: the study is refused, a local model, template or tracker is not there, or its problems cannot be had.
    """
    if not isinstance(path, str | Path) or set(str(path)) & set("{}"):  # Snakemake takes {x} for a wildcard
        raise UserError(f"config {path}: expected a file's path, without braces: --config study=config/small.yaml")
    study = load_study(path)
    if study.base_is_local and study.model.path and not Path(study.base_path, "model.safetensors").is_file():
        raise UserError(f"model.path {study.base_path}: no model.safetensors there; null trains a base model")
    if study.trackers:
        from hdpo.run.trackers import require_trackers  # here, as it imports PyTorch

        require_trackers(study)
    _ = study.run(study.runs[0], study.seeds[0]).hash  # reads every file that identities cover
    check_task(study)
    return study


def told_first(study: Study) -> dict[str, Any]:
    """What Snakemake's own report opens on: `text`, sentences as reStructuredText, and `figure`, lines of a data URI.

    From the study's report.json; without it, or without the figure, they are empty.

    Raises:
        UserError: report.json is damaged.
    """
    path = study.root / "report.json"
    data = read_json(path) if path.is_file() else {}
    finding = data.get("finding") or {"text": (), "figure": {"stem": "", "alt": ""}}
    text = dict.fromkeys([*filter(None, [data.get("answer")]), *finding["text"]])
    image = study.root / f"{finding['figure']['stem']}.png"
    uri = f"data:image/png;base64,{b64encode(image.read_bytes()).decode()}" if image.is_file() else ""
    lines = re.findall(f".{{1,{LINE}}}", uri)
    escaped = [re.sub(r"([\\*_`|])", r"\\\1", sentence) for sentence in text]
    return {"text": escaped, "figure": lines, "alt": finding["figure"]["alt"]}


def identity(study: Study) -> Callable[..., str]:
    """Of wildcards run and seed: configuration and code. A changed value retrains the runs that it touches."""

    def of(wildcards) -> str:
        if wildcards.run == BASE_RUN:
            return study.base_hash
        run = study.run(wildcards.run, int(wildcards.seed))
        return f"{run.hash} {run.code}"

    return of


def extra_results(study: Study) -> list[str]:
    """Results of runs made by hand beside the study's list. They appear in its tables, so these depend on them."""
    planned = {study.run(name, seed).folder / "run.json" for name in study.runs for seed in study.seeds}
    extra = [path for path in sorted(study.root.glob("runs/*/seed*/run.json")) if path not in planned]
    names = [f"{path.parent.parent.name}/{path.parent.name}" for path in extra]
    tests = [study.root / "eval" / f"{name}.{kind}" for name in names for kind in ("parquet", "json")]
    return [str(path) for path in [*extra, *filter(Path.is_file, tests)]]


def added_runs(study: Study, names: str) -> list[str]:
    """Runs to make beside the study's list, from `--config add="NAME NAME"`. They take the study's seeds.

    A wrong name ends the process with one line and exit code 2.
    """
    try:
        for name in names.split():
            _ = study.run(name, study.seeds[0]).hash
    except UserError as error:
        _refuse(error)
    return [name for name in dict.fromkeys(names.split()) if name not in study.runs]


def packaged(*names: str) -> list[str]:
    """Files of the installed package, by their places in it, wherever Snakemake is started."""
    return [str(Path(hdpo.__file__).parent / name) for name in names]


def wildcard(names: Iterable[str]) -> str:
    """A pattern that matches these names only."""
    return "|".join(map(re.escape, names))


def tested_weights(study: Study) -> Callable[..., list[str]]:
    """Of wildcards run and seed: a run's final weights, or those that the `base` stage trains."""

    def of(wildcards) -> list[str]:
        if wildcards.run != BASE_RUN:
            return [str(study.run(wildcards.run, int(wildcards.seed)).folder / "model" / "model.safetensors")]
        return [str(study.built_base / "model.safetensors")] if study.model.path is None else []

    return of


def base_outcomes(study: Study) -> Callable[..., list[str]]:
    """Of wildcards run and seed: the base model's outcomes, where a test tries its unsolved problems more often."""

    def of(wildcards) -> list[str]:
        asked = study.evaluate.conversion_samples is not None and wildcards.run != BASE_RUN
        return [str(study.root / "eval" / BASE_RUN / "seed0.parquet")] if asked else []

    return of


def hold_study(study: Study) -> None:
    """Lock the study's results for as long as this process lives, or end it with one line and exit code 2.

    Called when jobs are about to run, in the main process only. Unlike Snakemake's lock files, which the profile
    turns off, this one cannot outlive its owner.
    """
    try:
        HELD.append(lock(study.root / ".lock", f"study {study.name}"))
    except (UserError, OSError) as error:
        line = disk_error(error) if isinstance(error, OSError) else str(error)
        if line is None:
            raise
        _refuse(line)


def explain_full_disk(study: Study) -> None:
    """One line where no room is left: the jobs' own lines went to logs on the same disk."""
    if shutil.disk_usage(study.root).free < 2**16:
        line = disk_error(OSError(errno.ENOSPC, "", str(study.root)))
        print(f"hdpo: {line}", file=sys.stderr, flush=True)
