"""The loop around the step: resume, evaluate, log, checkpoint, and hand over the finished run."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hdpo.learning.masters import round_into
from hdpo.learning.trainer import Trainer
from hdpo.model.loading import hub_commit
from hdpo.plan.memory import require_gpu_memory
from hdpo.run.checkpoint import EVALS, METRICS, Checkpoint, save_checkpoint
from hdpo.run.longer import load_newest
from hdpo.run.method_state import MethodState, restore_method
from hdpo.run.metrics import MetricsFile
from hdpo.run.outcomes import read_outcomes, write_outcomes
from hdpo.run.samples import Samples
from hdpo.run.samples_file import SAMPLES, read_samples
from hdpo.run.score import evaluate_splits
from hdpo.run.trackers import Trackers, require_trackers
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.system.errors import UserError
from hdpo.system.files import lock, read_record, remove, verify_files, write_atomic, write_record
from hdpo.system.finite import located
from hdpo.system.interrupt import Interrupted, stop_signals
from hdpo.system.progress import progress
from hdpo.system.provenance import provenance
from hdpo.tasks import TRAINING_SPLITS, problem_set_hash


def train_run(run: Run) -> Path:
    """Train one run, from its newest checkpoint if there is one, and write its results folder.

    The state folder (checkpoints, metrics so far) survives a kill; running again goes on from there and ends in
    the same bytes. The results folder appears only when the run is complete; a complete run is left as it is.

    Raises:
        UserError: another process trains this run, no checkpoint of it is usable, a tracker is not installed, or the
            GPU is too small for it.
        NotFinite: names run, seed and step; the last checkpoint is untouched.
        Interrupted: stopped by a signal after a step, with that step saved.
    """
    torch.set_num_threads(run.study.hardware.threads_per_rank)
    name, state, steps = f"run {run.name} seed {run.seed}", run.state_folder, run.study.train.steps
    require_trackers(run.study)
    if ranks.from_main(lambda: _is_finished(run)):
        if ranks.is_main():
            print(f"{name}: finished, all {steps} steps are done; results in {run.folder}", flush=True)
        return run.folder
    if torch.cuda.is_available():
        require_gpu_memory(run)
    started, began = provenance(), time.perf_counter()
    trainer = Trainer(run)
    learner = trainer.learner
    model = None if run.study.base_is_local else hub_commit(run.study.base_path, run.study.model.revision)
    commits = {"model": model, "data": trainer.task.commit}  # now: the hub's newest may be another at the end
    with ExitStack() as at_the_end:
        if ranks.is_main():
            at_the_end.callback(lock(state / ".lock", name).release)
        checkpoint = load_newest(run, learner.weights, learner.optimizer)
        round_into(trainer.policy, learner.weights)
        if checkpoint:
            restore_method(trainer, checkpoint.folder)
        done, earlier = (checkpoint.step, checkpoint.earlier_steps) if checkpoint else (0, ())
        before = (checkpoint.folder / METRICS).read_bytes() if checkpoint else b""
        metrics = MetricsFile(state / METRICS if ranks.is_main() else Path(os.devnull), before)
        evals = read_outcomes(checkpoint.folder / EVALS) if checkpoint else []
        samples = Samples(state / SAMPLES if ranks.is_main() else None, run.study.samples, _samples(checkpoint))
        trackers = Trackers(run, done, run.study.trackers if ranks.is_main() else ())
        at_the_end.callback(trackers.close)
        if ranks.is_main():
            _announce(run, name, checkpoint)

        def evaluate(step: int) -> None:
            rows = evaluate_splits(run.study, run.seed, step, trainer.scorer, trainer.sampler, trainer.policy.device)
            evals.extend(rows)
            trackers.evaluation(step, rows)

        with stop_signals() as stop:
            bar = progress(range(done, steps), name, shown=ranks.is_main(), initial=done)
            for step in bar:
                with located(f"{name} step {step}"):
                    if step and step % run.study.evaluate.every == 0:
                        evaluate(step)
                    record, sample = samples.step(trainer, step)
                    metrics.write(record)
                trackers.metrics(step, record)
                trackers.samples(step, sample)
                shown = {name: record[name] for name in ("reward", "loss") if record[name] is not None}
                bar.set_postfix(**{name: f"{value:.3f}" for name, value in shown.items()}, cliffs=record["cliffs"])
                stopped = max(ranks.gather_count(stop.number or 0))  # a signal need not reach all ranks in one step
                if (step + 1) % run.study.train.checkpoint_every == 0 or step + 1 == steps or stopped:
                    _save(trainer, step + 1, evals, earlier)
                if stopped:
                    raise Interrupted(stopped, f"{name}: stopped after step {step + 1} of {steps} and saved")
        with located(f"{name} step {steps}"):
            evaluate(steps)
        seconds = round(time.perf_counter() - began, 1)
        record = {"processes": ranks.size(), "resumed_after_step": done, "seconds": seconds, "hub_commits": commits}
        _hand_over(trainer, evals, started | record | {"earlier_steps": list(earlier)})
    return run.folder


def _is_finished(run: Run) -> bool:
    """Whether the results folder is complete and unchanged, and of this configuration and code."""
    try:
        record = read_record(run.folder / "run.json")
        if (record.get("run_hash"), record.get("code")) != (run.hash, run.code):
            return False
        verify_files(run.folder / "run.json")
    except UserError:
        return False
    return True


def _samples(checkpoint: Checkpoint | None) -> list[dict[str, Any]]:
    """The samples of the steps already done; none if the checkpoint was written without them."""
    path = checkpoint.folder / SAMPLES if checkpoint else None
    return read_samples(path) if path and path.exists() else []


def _announce(run: Run, name: str, checkpoint: Checkpoint | None) -> None:
    """Say where training goes on, or that an earlier state cannot be used because the code has changed since."""
    others = sorted(run.state_folder.parent.glob(f"{run.name}-seed{run.seed}-{run.hash}-*"))
    if checkpoint:
        longer = checkpoint.folder.parent != run.state_folder
        of = f" of {checkpoint.earlier_steps[-1]}, now {run.study.train.steps}" if longer else ""
        print(f"{name}: resuming after step {checkpoint.step}{of}", flush=True)
    elif others := [folder for folder in others if folder != run.state_folder and any(folder.glob("step-*"))]:
        print(f"{name}: the code has changed since {others[-1]}; training starts anew", flush=True)


def _save(trainer: Trainer, step: int, evals: list[dict[str, Any]], earlier: Sequence[int]) -> None:
    run, state, learner, method = trainer.run, trainer.run.state_folder, trainer.learner, MethodState(trainer)

    def write(out: Path) -> None:
        method.write(out)
        for name in _logs(run):
            shutil.copyfile(state / name, out / name)
        _write_evals(trainer, out / EVALS, evals)

    save_checkpoint(state, step, run.hash, learner.weights, learner.optimizer, write, earlier)


def _logs(run: Run) -> list[str]:
    """The files that grow in the state folder while the run trains."""
    return [METRICS] if run.study.samples is None else [METRICS, SAMPLES]


def _hand_over(trainer: Trainer, evals: list[dict[str, Any]], record: dict) -> None:
    """Write the results folder: model, logs, evaluations and, last, the provenance with the hashes of them all."""
    run, state = trainer.run, trainer.run.state_folder
    if ranks.is_main():
        remove(run.folder / "run.json")  # what an earlier one says of these files is about to be wrong
    save_policy(trainer, run.folder / "model")
    if not ranks.is_main():
        return
    remove(run.folder / SAMPLES)
    for name in _logs(run):
        write_atomic(run.folder / name, partial(shutil.copyfile, state / name))
    _write_evals(trainer, run.folder / EVALS, evals)
    identity = {"run": run.name, "run_hash": run.hash, "code": run.code, "seed": run.seed, "config": run.resolved}
    files = [*(run.folder / "model").iterdir(), *(run.folder / name for name in (*_logs(run), EVALS))]
    write_record(run.folder / "run.json", record | {"tokens": _tokens(state / METRICS)} | identity, files)


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
