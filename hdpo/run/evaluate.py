"""Evaluation of final weights on the test problems."""

import time
from pathlib import Path

from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.run.outcomes import evaluate, write_outcomes
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.study.study import BASE_RUN, Run, Study
from hdpo.system import ranks
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, verify_files, write_record
from hdpo.system.finite import located
from hdpo.system.provenance import provenance
from hdpo.system.rng import generator
from hdpo.tasks import problem_set_hash
from hdpo.tasks.scoring import Scorer


def evaluate_test(study: Study, name: str, seed: int) -> Path:
    """Evaluate a run's final weights, or the base model (`name="base"`), on the test problems.

    Raises:
        UserError: the run has not finished, or was made by another config.
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
    sampler = load_sampler(study, model, model_path, tokenizer.eos_token_id)
    problems, samples = task.problems("test"), study.evaluate.test_samples
    random = generator(seed, "test", device=model.device)
    with located(f"run {name} seed {seed}, test problems"):
        rows = evaluate(Scorer(task, tokenizer), sampler, problems, samples, study.train.temperature, random)
    out = study.root / "eval" / name / f"seed{seed}.parquet"
    if not ranks.is_main():
        return out
    hashes = {"test": problem_set_hash(problems)}
    metadata = {"run": name, "seed": seed, "run_hash": run_hash, "problems": hashes, "samples": samples}
    write_outcomes(out, rows, metadata)
    cost = {"seconds": round(time.perf_counter() - began, 1), "config": study.model_dump(mode="json")}
    write_record(out.with_suffix(".json"), started | cost | metadata | {"code": study.evaluation_code}, [out])
    return out


def require_same_run(run: Run) -> None:
    """Refuse results in the run's folder that another config made, or that have changed since."""
    found = read_record(run.folder / "run.json").get("run_hash")
    if found != run.hash:
        raise UserError(
            f"{run.folder}/run.json: made by config {found}, this config is {run.hash}; train again or restore it"
        )
    verify_files(run.folder / "run.json")
