"""The same twice: bytes of weights, metrics, evaluations, tables and figures; and how large the rest is.

What is not promised is measured where it can be: two threads in place of one, and another processor.
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file
from torch import Tensor

from torture.victims import ARMS, NAME, row, snakemake, the_run, uninterrupted, workplace

KINDS = ("*.csv", "*.tex", "*.png", "*.pdf", "*.parquet", "*.safetensors")
TIMED = ("cost", "overhead", "statistics_claims", "check", "report", "benchmark")  # hold seconds of this very run


def run(quick: bool) -> list[dict]:
    expected = uninterrupted()
    same = sum(uninterrupted() == expected for _ in range(1 if quick else 3))
    tries = 1 if quick else 3
    rows = [row("the same run again", tries, same, "nothing" if same == tries else "other bytes")]
    return rows if quick else [*rows, jobs(), *not_promised()]


def jobs() -> dict:
    """The whole workflow with one job at a time and with two: every file of results, times aside."""
    found = {}
    for cores in (1, 2):
        with workplace(methods=ARMS):
            process = snakemake(cores=cores)
            said = process.communicate(timeout=400)[0]
            assert process.returncode == 0, said[-500:]
            found[cores] = _results()
    one, two = found.values()
    other = sorted(name for name in one | two if one.get(name) != two.get(name))
    total, lost = len(one | two), ", ".join(other[:5]) or "nothing"
    return row("files of results with 1 and with 2 jobs at a time", total, total - len(other), lost)


def not_promised(steps: int = 40) -> list[dict]:
    """Two threads, and a processor without AVX-512: how far a run ends from one with one thread here."""
    older = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}  # what torch and oneDNN then leave unused
    here, *others = [_trained(steps, 1, {}), _trained(steps, 2, {}), _trained(steps, 1, older)]
    names = ("1 and 2 threads", "with and without AVX-512")
    return [_apart(name, steps, here, other) for name, other in zip(names, others, strict=True)]


def _trained(steps: int, threads: int, environment: dict[str, str]) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Final weights and metrics of a run in a process of its own: a fork would inherit the choice of instructions."""
    changes = {"train__steps": steps, "evaluate__every": steps, "train__checkpoint_every": steps}
    with workplace(**changes, hardware__threads=threads):
        command = [sys.executable, "-m", "hdpo.cli", "train", "study.yaml", "--run", NAME, "--seed", "1"]
        subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
        run = the_run()
        metrics = pd.read_json(run.folder / "metrics.jsonl", lines=True)
        return load_file(run.folder / "model/model.safetensors"), metrics


def _apart(name: str, steps: int, here: tuple, other: tuple) -> dict:
    (weights, metrics), (their_weights, their_metrics) = here, other
    apart = max(float((weights[key] - their_weights[key]).abs().max()) for key in weights)
    scale = max(float(value.abs().max()) for value in weights.values())
    first = next((i for i, (a, b) in enumerate(zip(metrics.loss, their_metrics.loss, strict=True)) if a != b), None)
    reward = (metrics.reward - their_metrics.reward).abs().max()
    text = (
        f"not promised: after {steps} steps weights differ by up to {apart:.2g} (largest weight {scale:.2g}),"
        f" a step's mean reward by up to {reward:.3f}, first in step {first}"
    )
    return row(name, 1, 1, text if apart else f"nothing: equal bytes after {steps} steps")


def _results() -> dict[str, bytes]:
    paths = [path for kind in KINDS for path in Path("results").rglob(kind) if "state" not in path.parts]
    return {str(path): path.read_bytes() for path in paths if not path.stem.startswith(TIMED)}
