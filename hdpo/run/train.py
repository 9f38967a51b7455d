"""The loop around the step: resume, evaluate, log, checkpoint, and hand over the finished run."""

import json
import os
import shutil
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from hdpo.learning.masters import round_into
from hdpo.learning.trainer import Trainer
from hdpo.model.loading import hub_commit
from hdpo.plan.memory import require_gpu_memory
from hdpo.run.checkpoint import EVALS, METRICS, load_checkpoint, save_checkpoint
from hdpo.run.metrics import MetricsFile
from hdpo.run.outcomes import read_outcomes, write_outcomes
from hdpo.run.score import evaluate_splits
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.system.files import lock, remove, write_atomic, write_record
from hdpo.system.finite import located
from hdpo.system.interrupt import Interrupted, stop_signals
from hdpo.system.progress import progress
from hdpo.system.provenance import provenance
from hdpo.tasks import TRAINING_SPLITS, problem_set_hash


def train_run(run: Run) -> Path:
    """Train one run, from its newest checkpoint if there is one, and write its results folder.

    The state folder (checkpoints, metrics so far) survives a kill; running again goes on from there and ends in
    the same bytes. The results folder appears only when the run is complete.

    Raises:
        UserError: another process trains this run, no checkpoint of it is usable, or the GPU is too small for it.
        NotFinite: names run, seed and step; the last checkpoint is untouched.
        Interrupted: stopped by a signal after a step, with that step saved.
    """
    torch.set_num_threads(run.study.hardware.threads_per_rank)
    if torch.cuda.is_available():
        require_gpu_memory(run)
    started, began = provenance(), time.perf_counter()
    trainer, state, steps = Trainer(run), run.state_folder, run.study.train.steps
    learner = trainer.learner
    model = None if run.study.base_is_local else hub_commit(run.study.base_path, run.study.model.revision)
    commits = {"model": model, "data": trainer.task.commit}  # now: the hub's newest may be another at the end
    name = f"run {run.name} seed {run.seed}"
    with ExitStack() as at_the_end:
        if ranks.is_main():
            at_the_end.callback(lock(state / ".lock", name).release)
        checkpoint = load_checkpoint(state, run.hash, learner.weights, learner.optimizer)
        round_into(trainer.policy, learner.weights)
        done = checkpoint.step if checkpoint else 0
        before = (checkpoint.folder / METRICS).read_bytes() if checkpoint else b""
        metrics = MetricsFile(state / METRICS if ranks.is_main() else Path(os.devnull), before)
        evals = read_outcomes(checkpoint.folder / EVALS) if checkpoint else []
        if ranks.is_main():
            _announce(run, name, done)
        with stop_signals() as stop:
            bar = progress(range(done, steps), name, shown=ranks.is_main())
            for step in bar:
                with located(f"{name} step {step}"):
                    if step and step % run.study.evaluate.every == 0:
                        evals += _evaluate(trainer, step)
                    record = trainer.step(step)
                    metrics.write(record)
                shown = {name: record[name] for name in ("reward", "loss") if record[name] is not None}
                bar.set_postfix(**{name: f"{value:.3f}" for name, value in shown.items()}, cliffs=record["cliffs"])
                stopped = max(ranks.gather_count(stop.number or 0))  # a signal need not reach all ranks in one step
                if (step + 1) % run.study.train.checkpoint_every == 0 or step + 1 == steps or stopped:
                    _save(trainer, step + 1, evals)
                if stopped:
                    raise Interrupted(stopped, f"{name}: stopped after step {step + 1} of {steps} and saved")
        with located(f"{name} step {steps}"):
            evals += _evaluate(trainer, steps)
        seconds = round(time.perf_counter() - began, 1)
        record = {"processes": ranks.size(), "resumed_after_step": done, "seconds": seconds, "hub_commits": commits}
        _hand_over(trainer, evals, started | record)
    return run.folder


def _announce(run: Run, name: str, done: int) -> None:
    """Say where training goes on, or that an earlier state cannot be used because the code has changed since."""
    others = sorted(run.state_folder.parent.glob(f"{run.name}-seed{run.seed}-{run.hash}-*"))
    if done:
        print(f"{name}: resuming after step {done}", flush=True)
    elif others := [folder for folder in others if folder != run.state_folder and any(folder.glob("step-*"))]:
        print(f"{name}: the code has changed since {others[-1]}; training starts anew", flush=True)


def _evaluate(trainer: Trainer, step: int) -> list[dict[str, Any]]:
    return evaluate_splits(
        trainer.run.study, trainer.run.seed, step, trainer.scorer, trainer.sampler, trainer.policy.device
    )


def _save(trainer: Trainer, step: int, evals: list[dict[str, Any]]) -> None:
    run, state, learner = trainer.run, trainer.run.state_folder, trainer.learner

    def write(out: Path) -> None:
        shutil.copyfile(state / METRICS, out / METRICS)
        _write_evals(trainer, out / EVALS, evals)

    save_checkpoint(state, step, run.hash, learner.weights, learner.optimizer, write)


def _hand_over(trainer: Trainer, evals: list[dict[str, Any]], record: dict) -> None:
    """Write the results folder: model, metrics, evaluations and, last, the provenance with the hashes of them all."""
    run, metrics = trainer.run, trainer.run.state_folder / METRICS
    if ranks.is_main():
        remove(run.folder / "run.json")  # what an earlier one says of these files is about to be wrong
    save_policy(trainer, run.folder / "model")
    if not ranks.is_main():
        return
    write_atomic(run.folder / METRICS, lambda out: shutil.copyfile(metrics, out))
    _write_evals(trainer, run.folder / EVALS, evals)
    identity = {"run": run.name, "run_hash": run.hash, "code": run.code, "seed": run.seed, "config": run.resolved}
    files = [*(run.folder / "model").iterdir(), run.folder / METRICS, run.folder / EVALS]
    write_record(run.folder / "run.json", record | {"tokens": _tokens(metrics)} | identity, files)


def save_policy(trainer: Trainer, folder: Path) -> None:
    """Write weights and tokenizer as a Hugging Face folder; called by every rank, as shards are gathered."""
    dtype = getattr(torch, trainer.run.study.model.dtype)  # shards are float32
    weights = ranks.collect(trainer.policy.named_parameters())  # tied ones once, unlike in a state_dict
    weights = {name: weight.to(dtype) for name, weight in weights.items()}

    def write(out: Path) -> None:
        trainer.policy.save_pretrained(out, state_dict=weights)
        trainer.tokenizer.save_pretrained(out)

    ranks.from_main(lambda: write_atomic(folder, write))


def _write_evals(trainer: Trainer, out: Path, evals: list[dict[str, Any]]) -> None:
    run, hashes = trainer.run, {split: problem_set_hash(trainer.task.problems(split)) for split in TRAINING_SPLITS}
    samples = dict.fromkeys(TRAINING_SPLITS, run.study.evaluate.samples)
    metadata = {"run": run.name, "seed": run.seed, "run_hash": run.hash, "problems": hashes, "samples": samples}
    write_outcomes(out, evals, metadata)


def _tokens(metrics: Path) -> dict[str, int]:
    """Tokens drawn, trained and distilled over the whole run, by kind."""
    totals: Counter[str] = Counter()
    for line in metrics.read_text(encoding="utf-8").splitlines():
        totals.update(json.loads(line)["tokens"])
    return dict(totals)
