"""The Slurm profile on a real cluster of one node: the smoke study through sbatch, jobs cut off, GPUs counted.

    apt-get install slurm-wlm munge && pip install -e ".[slurm]"
    python tests/slurm/prove.py        as root; ten minutes; leaves no daemon behind

Two training jobs are cut off on purpose, one by its time limit (SIGTERM, then SIGKILL) and one by SIGKILL alone.
Both must be resubmitted, go on from their checkpoints, and end in the bytes of a run that nobody touched.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/, as pytest has it

from helpers.steps import timeless
from helpers.studies import ROOT, tiny
from helpers.workflow import start_snakemake

CLUSTER = ROOT / "tests/slurm/cluster.sh"
STEPS = 3000  # over a minute: Slurm looks every half minute for jobs beyond their time limit
CHECKPOINT_EVERY = 97  # steps; a job stopped in any other step has saved that one
# What a cluster without accounting needs, and a one-node one can do without.
SLURM = "--slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 2"
SLURM += " --seconds-between-status-checks 3 --latency-wait 5"


@contextmanager
def snakemake(folder: Path, *arguments: str, **options) -> Iterator[subprocess.Popen]:
    """The workflow in `folder`, ended with its jobs if it still runs on leaving."""
    running = start_snakemake(*arguments, folder=folder, **options)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


def clone(folder: Path) -> Path:
    """A folder with a longer smoke study, `study.yaml`."""
    folder.mkdir()
    longer = {"train__steps": STEPS, "train__checkpoint_every": CHECKPOINT_EVERY, "evaluate__every": STEPS // 2}
    (folder / "study.yaml").write_text(yaml.safe_dump(tiny(**longer, hardware__minutes=10)))
    return folder


def jobs() -> list[dict[str, str]]:
    """Every job that the cluster remembers: id, state, and the rule and wildcards that Snakemake notes with it."""
    command = ["squeue", "--noheader", "--states", "all", "--format", "%i|%T|%k"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [dict(zip(("id", "state", "rule"), line.split("|"), strict=True)) for line in listed]


def cut_off(folder: Path, run: str, *command: str) -> str:
    """Wait until the run is under way, then end its job by `command`; returns the job's id."""
    deadline = time.time() + 300
    while time.time() < deadline:
        metrics = [path.read_bytes().count(b"\n") for path in folder.glob(f"results/smoke/state/{run}-*/metrics.jsonl")]
        running = [job for job in jobs() if job["state"] == "RUNNING" and f"train_wildcards_{run}" in job["rule"]]
        if running and metrics and metrics[0] > CHECKPOINT_EVERY + 10:
            subprocess.run([part.format(running[0]["id"]) for part in command], check=True)
            return running[0]["id"]
        time.sleep(0.2)
    raise SystemExit(f"prove.py: {run} did not get under way within 300 s")


def results(folder: Path) -> dict[str, bytes]:
    """What the study's training and tests left, without timings."""
    root = folder / "results/smoke"
    names = ("base/model.safetensors", "runs/*/*/model/model.safetensors", "runs/*/*/evals.parquet", "eval/*/*.parquet")
    found = {str(path.relative_to(root)): path.read_bytes() for name in names for path in root.glob(name)}
    for path in root.glob("runs/*/*/metrics.jsonl"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        found[str(path.relative_to(root))] = json.dumps([timeless(record) for record in records]).encode()
    return found


def check(holds: bool, line: str) -> None:
    print(("ok      " if holds else "FAILED  ") + line, flush=True)
    if not holds:
        raise SystemExit(1)


def prove(folder: Path) -> None:
    plain, cluster = clone(folder / "plain"), clone(folder / "cluster")
    study = ["--config", "study=study.yaml"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with snakemake(plain, "--cores", "2", *study, "--", "results/smoke/summary.csv", **quiet) as summary:
        check(summary.wait() == 0, "the study without Slurm")

    profile = ["--profile", str(ROOT / "profiles/slurm"), *SLURM.split()]
    with open(folder / "snakemake.log", "w") as log, snakemake(cluster, *profile, *study, stderr=log) as running:
        # Its end moved to this moment, the job is over its time limit.
        limited = cut_off(cluster, "hdpo-frozen-0.1", "scontrol", "update", "JobId={}", "EndTime=now")
        # As when a node runs out of memory. (`scancel --signal=KILL` would send SIGTERM first.)
        kill = "kill -KILL $(scontrol listpids {} | awk 'NR > 1 {{print $1}}')"
        killed = cut_off(cluster, "hdpo-drifting-0.1", "sh", "-c", kill)
        check(running.wait() == 0, f"the study through sbatch, jobs {limited} and {killed} cut off")
    known = jobs()
    states = {job["id"]: job["state"] for job in known}
    check(states[limited] == "TIMEOUT", f"job {limited} ended by its time limit: {states[limited]}")
    check(states[killed] == "FAILED", f"job {killed} ended by SIGKILL: {states[killed]}")
    for run in ("grpo", "hdpo-frozen-0.1", "hdpo-drifting-0.1"):
        record = json.loads((cluster / f"results/smoke/runs/{run}/seed1/run.json").read_text())
        tries, step = sum(f"train_wildcards_{run}" in job["rule"] for job in known), record["resumed_after_step"]
        regular = step > 0 and step % CHECKPOINT_EVERY == 0
        # Warned by SIGTERM, a job saves the step in hand; without a warning, a regular checkpoint is what is left.
        warned = tries == 2 and 0 < step < STEPS and not regular
        holds = {"grpo": tries == 1 and step == 0, "hdpo-frozen-0.1": warned}
        check(holds.get(run, tries == 2 and regular), f"{run}: {tries} jobs, resumed after step {step}")
    check(results(cluster) == results(plain), f"all {len(results(plain))} result files equal the untouched run's")

    arguments = ["--snakefile", str(ROOT / "tests/slurm/gpus.smk"), *profile]
    with open(folder / "gpus.log", "w") as log, snakemake(cluster, *arguments, stderr=log) as running:
        check(running.wait() == 0, "three jobs with a GPU each on a node of two")
    times = []
    for path in (cluster / "gpu").iterdir():
        begin, end = path.read_text().splitlines()
        times.append((*begin.split(), end))
    together = [
        (a, b) for a in times for b in times if a < b and float(a[1]) < float(b[2]) and float(b[1]) < float(a[2])
    ]
    check(len(together) < 3, f"never three at a time ({len(together)} pairs overlap)")
    check(
        all(a[0] != b[0] for a, b in together), "no two at a time on one GPU: " + ", ".join(sorted(t[0] for t in times))
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("prove.py: terminated"))  # so that the daemons are stopped
    folder = Path(tempfile.mkdtemp(prefix="hdpo-slurm-"))
    print(f"folder {folder}", flush=True)
    subprocess.run([CLUSTER, "start", folder / "slurm"], check=True)
    try:
        prove(folder)
    finally:
        subprocess.run([CLUSTER, "stop", folder / "slurm"], check=True)


if __name__ == "__main__":
    main()
