"""A made-up study with results on disk as training and evaluation write them, for tests of what reads them."""

import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import yaml

from hdpo.claims.results import Results
from hdpo.run.outcomes import write_outcomes
from hdpo.study.study import Study, load_study
from hdpo.system.files import write_record
from hdpo.tasks import problem_set_hash
from helpers.studies import ROOT, hdpo

STEPS, EVERY, SAMPLES, TEST_SAMPLES = 40, 10, 8, 16

# The smoke study, resized: what is not named here does not matter to those who read results.
CHANGES = {
    "name": "tiny",
    "seeds": [1, 2, 3],
    "methods": ["grpo", hdpo(["drifting", "frozen"], [0.01, 0.1, 1.0])],
    "task": {"problems": {"train": 16, "development": 24, "validation": 32, "test": 60}},
    "model": {"path": None},
    "train": {"steps": STEPS, "prompts_per_step": 16},
    "evaluate": {"every": EVERY, "samples": SAMPLES, "test_samples": TEST_SAMPLES, "ks": [1, 4, 8]},
}


def tiny_config(**changes) -> dict:
    """The made-up study as plain data; `changes` replace keys section by section."""
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8"))
    for layer in (CHANGES, changes):
        for key, value in layer.items():
            config[key] = config[key] | value if isinstance(value, dict) else value
    return config


def make_study(folder: Path, **changes) -> Study:
    """A valid study, read from a file as users' are; see `tiny_config` for `changes`."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(tiny_config(**changes), sort_keys=False), encoding="utf-8")
    return load_study(path)


def write_final(
    study: Study, run: str, seed: int, greedy: np.ndarray, samples: np.ndarray, falsified: dict | None = None
) -> Path:
    """Outcomes on the test problems: greedy [Q], samples [Q, n]; `falsified` changes what the file states."""
    path = study.root / "eval" / run / f"seed{seed}.parquet"
    outcomes = {("test", 0): (greedy, samples)}
    if run == "base":  # it is step 0 of every run
        rng = np.random.default_rng(8)
        outcomes |= {(split, 0): _draw(study, split, 0.0, SAMPLES, rng) for split in ("development", "validation")}
    _write(study, path, run, seed, outcomes, falsified)
    write_record(path.with_suffix(".json"), {"run": run, "seed": seed, "code": study.evaluation_code}, [path])
    return path


def write_training(study: Study, run: str, seed: int, outcomes: dict) -> Path:
    """Outcomes during training, {(split, step): (greedy [Q], samples [Q, n])}."""
    path = study.run(run, seed).folder / "evals.parquet"
    _write(study, path, run, seed, outcomes, None)
    seal(study, run, seed)
    return path


def write_metrics(study: Study, run: str, seed: int) -> Path:
    """Training metrics in which the overhead is exactly proportional to the cliffs: 0.02 s and 30 tokens each."""
    rng, folder = np.random.default_rng([seed, len(run)]), study.run(run, seed).folder
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for step in range(STEPS):
        cliffs = int(rng.binomial(16, 0.3 - 0.12 * step / STEPS))
        taught = 0 if run == "grpo" else cliffs
        tokens = {"rollout": 1000, "privileged": 30 * taught, "distill": 0, "trained": 600}
        seconds = {"rollout": 0.3, "reward": 0.01, "privileged": 0.02 * taught, "update": 0.3, "total": 0.6}
        row = {
            "step": step,
            "response_length": 12.0,
            "cliffs": cliffs,
            "cliff_fraction": cliffs / 16,
            "tokens": tokens,
            "seconds": seconds,
        }
        row["privileged_pass_rate"] = float(rng.uniform(0.5, 0.8)) if taught else None
        lines.append(json.dumps(row))
    path = folder / "metrics.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    seal(study, run, seed)
    return path


def seal(study: Study, run: str, seed: int, /, **changes) -> Path:
    """Write a run's run.json with the hashes of its files as they are now; `changes` add to what it states."""
    own = study.run(run, seed)
    files = [own.folder / name for name in ("evals.parquet", "metrics.jsonl", "samples.parquet")]
    record = {"run": run, "run_hash": own.hash, "code": own.code, "seed": seed, "config": own.resolved} | changes
    write_record(own.folder / "run.json", record, [file for file in files if file.exists()])
    return own.folder / "run.json"


def write_everything(study: Study, effect: float = 0.0, missing: tuple[tuple[str, int], ...] = ()) -> None:
    """All runs but `missing`; success probabilities rise over steps, and HDPO's by `effect` · log10(1000 λ)."""
    for run in study.runs:
        weight = getattr(study.run(run, 0).method, "distill_weight", 0.0)
        gain = effect * np.log10(1000 * weight) * (0.7 if "frozen" in run else 1.0) if weight else 0.0
        for seed in study.seeds:
            if (run, seed) in missing:
                continue
            rng = np.random.default_rng([seed, 0])  # the same luck for each run of a seed
            write_final(study, run, seed, *_draw(study, "test", 0.12 + gain, TEST_SAMPLES, rng))
            outcomes = {
                (split, step): _draw(study, split, 0.12 * step / STEPS + gain, SAMPLES, rng)
                for step in range(EVERY, STEPS + 1, EVERY)
                for split in ("development", "validation")
            }
            write_training(study, run, seed, outcomes)
            write_metrics(study, run, seed)
    write_final(study, "base", 0, *_draw(study, "test", 0.0, TEST_SAMPLES, np.random.default_rng(9)))


def make_results(folder: Path, effect: float, missing: tuple[tuple[str, int], ...]) -> tuple[Path, Results]:
    """A folder with a made-up study in which all runs but `missing` are there, and its results."""
    with chdir(folder):
        study = make_study(folder)
        write_everything(study, effect, missing)
        return folder, Results(study)


def _draw(study: Study, split: str, gain: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    count = getattr(study.task.problems, split)
    chance = np.clip(np.linspace(0.0, 0.9, count) ** 1.5 + gain, 0, 1)
    return (rng.random(count) < chance).astype(int), (rng.random((count, n)) < chance[:, None]).astype(int)


def _write(study, path, run, seed, outcomes, falsified) -> None:
    task = study.task.load(study)
    rows, n = [], {}
    for (split, step), (greedy, samples) in outcomes.items():
        n[split] = samples.shape[1]
        for problem, right, drawn in zip(task.problems(split), greedy, samples, strict=True):
            row = {"step": step, "split": split, "problem": problem.id, "difficulty": problem.difficulty}
            row |= {"greedy": int(right), "samples": drawn.tolist(), "distinct": int(drawn.any()), "echoes": 0}
            rows.append(row | {"length": 9.0, "entropy": 0.5})
    metadata = {
        "run": run,
        "seed": seed,
        "run_hash": study.base_hash if run == "base" else study.run(run, seed).hash,
        "problems": {split: problem_set_hash(task.problems(split)) for split in n},
        "samples": n,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_outcomes(path, rows, metadata | (falsified or {}))
