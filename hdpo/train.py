"""The loop around the step: resume, evaluate, log, checkpoint, and hand over the finished run."""

import json
import shutil
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import torch

from hdpo.checkpoint import load_checkpoint, save_checkpoint
from hdpo.config import Run
from hdpo.evaluate import write_outcomes
from hdpo.files import write_atomic, write_json
from hdpo.metrics import MetricsFile
from hdpo.progress import progress
from hdpo.provenance import provenance
from hdpo.rng import generator
from hdpo.tasks import TRAINING_SPLITS, problem_set_hash
from hdpo.trainer import Trainer


def train_run(run: Run) -> Path:
    """Train one run, from its newest checkpoint if there is one, and write its results folder.

    The state folder (checkpoints, metrics so far) survives a kill; running again goes on from there and ends in
    the same bytes. The results folder appears only when the run is complete.
    """
    torch.set_num_threads(run.study.hardware.threads)
    started, began = provenance(), time.perf_counter()
    trainer, state, steps = Trainer(run), run.state_folder, run.study.train.steps
    state.mkdir(parents=True, exist_ok=True)
    done = load_checkpoint(state, run.hash, trainer.policy, trainer.optimizer)
    metrics = MetricsFile(state / "metrics.jsonl", done)
    if done:
        print(f"{run.name} seed {run.seed}: resuming after step {done}", flush=True)
    bar = progress(range(done, steps), f"{run.name} seed {run.seed}")
    for step in bar:
        if step % run.study.evaluate.every == 0:
            evaluate_during_training(trainer, step)
        record = trainer.step(step)
        metrics.write(record)
        bar.set_postfix(**_figures(record))
        if (step + 1) % run.study.train.checkpoint_every == 0 or step + 1 == steps:
            metrics.sync()
            save_checkpoint(state, step + 1, run.hash, trainer.policy, trainer.optimizer)
    evaluate_during_training(trainer, steps)
    _hand_over(trainer, started | {"resumed_after_step": done, "seconds": round(time.perf_counter() - began, 1)})
    return run.folder


def evaluate_during_training(trainer: Trainer, step: int) -> None:
    """Score the policy after `step` steps on development and validation problems, once per run."""
    run = trainer.run
    out = run.state_folder / "evals" / f"step-{step:06d}.parquet"
    if out.exists():
        return
    parts, hashes = [], {}
    for split in TRAINING_SPLITS:
        problems = trainer.task.problems(split)
        random = generator(run.seed, f"evaluate {split}", step, trainer.policy.device)
        rows = trainer.scorer.evaluate(
            trainer.sampler, problems, run.study.evaluate.samples, run.study.train.temperature, random
        )
        parts.append(rows.assign(step=step, split=split))
        hashes[split] = problem_set_hash(problems)
    write_outcomes(out, pd.concat(parts), _metadata(run) | {"problems": hashes})


def _hand_over(trainer: Trainer, record: dict) -> None:
    """Write the results folder: model, metrics, evaluations and, last, the provenance."""
    run, state = trainer.run, trainer.run.state_folder

    def save_model(folder: Path) -> None:
        trainer.policy.save_pretrained(folder)
        trainer.tokenizer.save_pretrained(folder)

    write_atomic(run.folder / "model", save_model)
    write_atomic(run.folder / "metrics.jsonl", lambda out: shutil.copyfile(state / "metrics.jsonl", out))
    evals = pd.concat([pd.read_parquet(path) for path in sorted((state / "evals").glob("step-*.parquet"))])
    hashes = {split: problem_set_hash(trainer.task.problems(split)) for split in TRAINING_SPLITS}
    write_outcomes(run.folder / "evals.parquet", evals, _metadata(run) | {"problems": hashes})
    identity = {"run": run.name, "run_hash": run.hash, "seed": run.seed, "config": run.resolved}
    write_json(run.folder / "run.json", record | {"tokens": _tokens(state / "metrics.jsonl")} | identity)


def _tokens(metrics: Path) -> dict[str, int]:
    """Tokens drawn, trained and distilled over the whole run, by kind."""
    totals: Counter[str] = Counter()
    for line in metrics.read_text(encoding="utf-8").splitlines():
        totals.update(json.loads(line)["tokens"])
    return dict(totals)


def _metadata(run: Run) -> dict:
    return {"run": run.name, "seed": run.seed, "run_hash": run.hash, "samples": run.study.evaluate.samples}


def _figures(record: dict) -> dict[str, str]:
    return {
        "reward": f"{record['reward']:.3f}",
        "cliffs": record["cliffs"],
        "policy": f"{record['policy_loss']:.4f}",
        "jsd": f"{record['distill_loss']:.4f}",
    }
