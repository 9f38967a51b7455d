"""What the parts of the benchmark share: their command line, and a study whose weights stand still."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hdpo.study.study import Study, load_study
from hdpo.system.allocator import keep_freed_memory
from hdpo.system.errors import UserError
from hdpo.system.files import write_json
from hdpo.system.provenance import provenance

STUDY = Path("config/small.yaml")


def run_part(name: str, measure: Callable[[bool], dict[str, Any]], arguments: list[str] | None = None) -> int:
    """Run one part on one thread and write results/bench/<name>.json: provenance, and what `measure(quick)` returns.

    Exit codes as `hdpo`: 0 done, 2 bad input (one line).
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=measure.__doc__)
    parser.add_argument("--out", type=Path, default=Path(f"results/bench/{name}.json"))
    parser.add_argument("--quick", action="store_true", help="few rounds and small sizes: does it run?")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        record = provenance() | {"quick": options.quick}
        write_json(options.out, record | measure(options.quick))
    except UserError as error:
        print(f"benchmarks.{name}: {error}", file=sys.stderr)
        return 2
    return 0


def still_study(study: Study | None = None, **train: Any) -> Study:
    """The small world (or `study`) at a learning rate of 1e-12, so that repeated steps do the same work.

    `train` replaces keys of the study's `train` section.
    """
    study = study or load_study(STUDY)
    optimizer = study.train.optimizer.model_copy(update={"learning_rate": 1e-12})
    return study.model_copy(update={"train": study.train.model_copy(update={"optimizer": optimizer} | train)})
