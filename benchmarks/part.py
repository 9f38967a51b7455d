"""What the parts of the benchmark share: their command line, where their results go, and a study that stands still."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.side import STUDY, still
from hdpo.study.study import Study, load_study
from hdpo.system.allocator import keep_freed_memory
from hdpo.system.errors import UserError
from hdpo.system.files import write_json
from hdpo.system.provenance import processor, provenance

RESULTS = Path("results/bench")  # a folder for each processor


def folder_name(cpu: str) -> str:
    """The folder of a processor's results: `AMD EPYC (family 25, model 1)` as `amd-epyc-family-25-model-1`."""
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")


def result_file(out: Path, part: str) -> Path:
    """Where a part's result on this processor goes."""
    return out / folder_name(processor()) / f"{part}.json"


def run_part(
    name: str, measure: Callable[..., dict[str, Any]], arguments: Sequence[str] | None = None, wants: Sequence[str] = ()
) -> int:
    """Run one part on one thread and write its result: provenance, and what `measure(quick, *wants)` returns.

    Exit codes as `hdpo`: 0 done, 2 bad input (one line).

    Args:
        wants: names of arguments that the part takes on its command line.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=measure.__doc__)
    for argument in wants:
        parser.add_argument(argument)
    parser.add_argument("--out", type=Path, default=result_file(RESULTS, name), help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few rounds and small sizes: does it run?")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        record = provenance() | {"quick": options.quick}
        measured = measure(options.quick, *(getattr(options, argument) for argument in wants))
        write_json(options.out, record | measured)
    except UserError as error:
        print(f"benchmarks.{name}: {error}", file=sys.stderr)
        return 2
    return 0


def still_study(study: Study | None = None, **train: Any) -> Study:
    """The small world, or `study`, standing still as in `still`."""
    return still(study or load_study(STUDY), **train)
