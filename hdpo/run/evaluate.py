"""Evaluation of final weights on the test problems."""

import time
from pathlib import Path
from typing import Any

import torch

from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.run.outcomes import problems_of, read_outcomes, test_split, write_outcomes
from hdpo.run.score import evaluate, evaluate_splits, try_again
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import VllmSampler
from hdpo.study.study import BASE_RUN, Run, Study
from hdpo.system import ranks
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, verify_files, write_record
from hdpo.system.finite import located
from hdpo.system.provenance import provenance
from hdpo.system.rng import generator
from hdpo.tasks import TRAINING_SPLITS, problem_set_hash
from hdpo.tasks.scoring import Scorer


def evaluate_test(study: Study, name: str, seed: int) -> Path:
    """Evaluate a run's final weights, or the base model (`name="base"`), on the test problems.

    The base model is step 0 of every run, so it meets the development and validation problems too.

    Raises:
        UserError: the run has not finished, or was made by another config; or the base model must come first.
    """
    if name == BASE_RUN:
        model_path, run_hash = study.base_path, study.base_hash
    else:
        run = study.run(name, seed)
        model_path, run_hash = str(run.folder / "model"), run.hash
        require_same_run(run)
    require_backend(study)
    started, began = provenance(), time.perf_counter()
    revision = study.model.revision  # without meaning for a run's folder
    task, tokenizer = study.task.load(study), load_tokenizer(model_path, revision)
    model = load_policy(model_path, study.model.dtype, revision=revision, implementation=study.model.implementation)
    sampler, scorer = load_sampler(study, model, model_path, tokenizer.eos_token_id), Scorer(task, tokenizer)
    with located(f"run {name} seed {seed}, test problems"):
        if name == BASE_RUN:
            rows = _test(study, scorer, sampler, seed, model.device, 0, study.evaluate.conversion_samples)
            rows += evaluate_splits(study, seed, 0, scorer, sampler, model.device)
        else:
            rows = _test(study, scorer, sampler, seed, model.device, study.train.steps)
            _try_conversion(study, scorer, sampler, seed, model.device, rows)
        for temperature in study.evaluate.temperatures:
            step = 0 if name == BASE_RUN else study.train.steps
            rows += _test(study, scorer, sampler, seed, model.device, step, temperature=temperature)
    out = study.root / "eval" / name / f"seed{seed}.parquet"
    if not ranks.is_main():
        return out
    splits = ["test", *map(test_split, study.evaluate.temperatures)]
    samples = dict.fromkeys(splits, study.evaluate.test_samples)
    if name == BASE_RUN:
        samples |= dict.fromkeys(TRAINING_SPLITS, study.evaluate.samples)
    hashes = {split: problem_set_hash(task.problems(problems_of(split))) for split in samples}
    metadata = {"run": name, "seed": seed, "run_hash": run_hash, "problems": hashes, "samples": samples}
    write_outcomes(out, rows, metadata)
    cost = {"seconds": round(time.perf_counter() - began, 1), "config": study.model_dump(mode="json")}
    write_record(out.with_suffix(".json"), started | cost | metadata | {"code": study.evaluation_code}, [out])
    return out


def _test(
    study: Study,
    scorer: Scorer,
    sampler: Sampler | VllmSampler,
    seed: int,
    device: torch.device,
    step: int,
    tries: int | None = None,
    temperature: float | None = None,
) -> list[dict[str, Any]]:
    """Outcomes on the test problems, from `tries` samples of each or as many as the study says, at its temperature."""
    split = "test" if temperature is None else test_split(temperature)
    samples, random = tries or study.evaluate.test_samples, generator(seed, split, device=device)
    heat = study.train.temperature if temperature is None else temperature
    rows = evaluate(scorer, sampler, scorer.task.problems("test"), samples, heat, random)
    return [{"step": step, "split": split} | row for row in rows]


def _try_conversion(
    study: Study,
    scorer: Scorer,
    sampler: Sampler | VllmSampler,
    seed: int,
    device: torch.device,
    rows: list[dict[str, Any]],
) -> None:
    """Add outcomes to the rows of problems that the base never solves, up to `evaluate.conversion_samples` tries.

    Raises:
        UserError: the base model is not yet evaluated.
    """
    tries = study.evaluate.conversion_samples
    if tries is None:
        return
    path = study.root / "eval" / BASE_RUN / "seed0.parquet"
    if not path.exists():
        raise UserError(f"{path}: missing; evaluate the base model first, `hdpo evaluate STUDY --run base`")
    verify_files(path.with_suffix(".json"), path.name)
    if (found := read_record(path.with_suffix(".json")).get("run_hash")) != study.base_hash:
        raise UserError(f"{path}: is of base model {found}, this study's is {study.base_hash}; evaluate it again")
    solved = {row["problem"]: sum(row["samples"]) for row in read_outcomes(path) if row["split"] == "test"}
    hard = [row for row in rows if solved[row["problem"]] == 0]
    by_id = {problem.id: problem for problem in scorer.task.problems("test")}
    random, count = generator(seed, "conversion", device=device), tries - study.evaluate.test_samples
    problems = [by_id[row["problem"]] for row in hard]
    if count and problems:
        more = try_again(scorer, sampler, problems, count, study.train.temperature, random)
        for row, outcomes in zip(hard, more, strict=True):
            row["samples"] += outcomes


def require_same_run(run: Run) -> None:
    """Refuse results in the run's folder that another config made, or that have changed since."""
    found = read_record(run.folder / "run.json").get("run_hash")
    if found != run.hash:
        raise UserError(
            f"{run.folder}/run.json: made by config {found}, this config is {run.hash}; train again or restore it"
        )
    verify_files(run.folder / "run.json")
