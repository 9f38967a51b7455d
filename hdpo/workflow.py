"""What the Snakefile asks of a study: read it or stop, a run's identity, and the weights that a test needs."""

import sys
from collections.abc import Callable
from pathlib import Path

from hdpo.config import BASE_RUN, Study, load_study
from hdpo.errors import UserError


def load_study_or_exit(path: str | Path) -> Study:
    """`load_study`, where a mistake ends in one line and exit code 2, not in a traceback."""
    try:
        return load_study(path)
    except UserError as error:
        print(f"hdpo: {error}", file=sys.stderr)
        sys.exit(2)


def run_hash(study: Study) -> Callable[..., str]:
    """Of wildcards run and seed: a changed value retrains the runs that it touches, and no other."""

    def of(wildcards) -> str:
        is_base = wildcards.run == BASE_RUN
        return study.base_hash if is_base else study.run(wildcards.run, int(wildcards.seed)).hash

    return of


def tested_weights(study: Study) -> Callable[..., list[str]]:
    """Of wildcards run and seed: a run's final weights, or the base model's where they lie in a folder here."""

    def of(wildcards) -> list[str]:
        if wildcards.run != BASE_RUN:
            return [str(study.run(wildcards.run, int(wildcards.seed)).folder / "model" / "model.safetensors")]
        return [str(Path(study.base_path) / "model.safetensors")] if study.base_is_local else []

    return of
