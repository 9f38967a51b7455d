"""Evaluation: one greedy answer and n sampled ones per problem, every outcome kept."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.tokenizer import encode
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import VllmSampler
from hdpo.study.study import BASE_RUN, Run, Study
from hdpo.system import ranks
from hdpo.system.errors import UserError
from hdpo.system.files import read_record, verify_files, write_atomic, write_record
from hdpo.system.finite import located
from hdpo.system.provenance import provenance
from hdpo.system.rng import generator
from hdpo.tasks import Problem, Task, Verdict, load_task, problem_set_hash


@dataclass(frozen=True)
class Judged:
    """What the verifier says of P·n responses, in problem-major order."""

    rewards: torch.Tensor  # R, [P, n]
    texts: list[str]
    verdicts: Counter[str]  # how many of each; empty if the task's verifier knows only right and wrong


@dataclass(frozen=True)
class Scorer:
    """Samples answers to problems and scores them; shared by training and evaluation."""

    task: Task
    tokenizer: Any

    def score(self, problems: list[Problem], completions: list[torch.Tensor]) -> torch.Tensor:
        """R of every completion, [P, n]: the rewards of `judge`."""
        return self.judge(problems, completions).rewards

    def judge(self, problems: list[Problem], completions: list[torch.Tensor]) -> Judged:
        """Judge P·n completions of P problems, in problem-major order, in one call of the verifier.

        Only the end token is no part of a response: a padding or unknown token inside makes another text.
        Every rank scores its share and returns the scores of all.

        Raises:
            NotFinite: a reward is neither 0 nor 1.
        """
        end = self.tokenizer.eos_token_id
        mine = ranks.share(completions)
        ids = [row.tolist() for row in mine]
        texts = self.tokenizer.batch_decode([row[:-1] if row[-1:] == [end] else row for row in ids])
        group = len(completions) // max(1, len(problems))
        asked = ranks.share([problem for problem in problems for _ in range(group)])
        judged = ranks.from_all(lambda: (self.task.judge(asked, texts), texts))
        verdicts = [verdict for part, _ in judged for verdict in part]
        texts = [text for _, part in judged for text in part]
        rewards = torch.tensor([float(verdict == Verdict.CORRECT) for verdict in verdicts])
        counted = Counter(verdict.value for verdict in verdicts) if self.task.verifier_can_fail else Counter()
        return Judged(rewards.reshape(len(problems), group), texts, counted)

    def evaluate(
        self,
        sampler: Sampler | VllmSampler,
        problems: tuple[Problem, ...],
        samples: int,
        temperature: float,
        random: torch.Generator,
    ) -> list[dict[str, Any]]:
        """One row per problem: greedy outcome and the n sampled outcomes in draw order."""
        prompts = encode(self.tokenizer, [self.task.student_prompt(problem) for problem in problems])
        greedy = self.score(list(problems), sampler.sample(prompts, 1, 0.0).sequences.completions)
        sampled = sampler.sample(prompts, samples, temperature, random).sequences.completions
        outcomes = self.score(list(problems), sampled)
        first, others = greedy[:, 0].int().tolist(), outcomes.int().tolist()
        return [
            {"problem": problem.id, "difficulty": problem.difficulty, "greedy": first[i], "samples": others[i]}
            for i, problem in enumerate(problems)
        ]


def write_outcomes(path: Path, rows: list[dict[str, Any]], metadata: dict[str, Any]) -> None:
    """Write outcomes as Parquet; `metadata` names run, seed, run hash and problem sets.

    By way of JSON, as pyarrow's other ways from Python to a table import pandas: a third of a second in each process.
    """
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet as pq

    fields = [pa.field("problem", pa.string()), pa.field("difficulty", pa.int32()), pa.field("greedy", pa.int8())]
    fields.append(pa.field("samples", pa.list_(pa.int8())))
    if "step" in rows[0]:
        fields = [pa.field("step", pa.int32()), pa.field("split", pa.string()), *fields]
    schema = pa.schema(fields, metadata={b"hdpo": json.dumps(metadata, sort_keys=True).encode()})
    lines = "\n".join(map(json.dumps, rows)).encode()
    parsed = pa.json.read_json(BytesIO(lines), parse_options=pa.json.ParseOptions(explicit_schema=schema))
    table = parsed.select(schema.names).replace_schema_metadata(schema.metadata)
    write_atomic(path, lambda temporary: pq.write_table(table, temporary))


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_outcomes` wrote."""
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


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
    task, tokenizer = load_task(study), load_tokenizer(model_path, revision)
    model = load_policy(model_path, study.model.dtype, revision=revision, implementation=study.model.implementation)
    sampler = load_sampler(study, model, model_path, tokenizer.eos_token_id)
    problems, samples = task.problems("test"), study.evaluate.test_samples
    random = generator(seed, "test", device=model.device)
    with located(f"run {name} seed {seed}, test problems"):
        rows = Scorer(task, tokenizer).evaluate(sampler, problems, samples, study.train.temperature, random)
    out = study.root / "eval" / name / f"seed{seed}.parquet"
    if not ranks.is_main():
        return out
    hashes = {"test": problem_set_hash(problems)}
    metadata = {"run": name, "seed": seed, "run_hash": run_hash, "problems": hashes, "samples": samples}
    write_outcomes(out, rows, metadata)
    cost = {"seconds": round(time.perf_counter() - began, 1), "config": study.model_dump(mode="json")}
    write_record(out.with_suffix(".json"), started | cost | metadata, [out])
    return out


def require_same_run(run: Run) -> None:
    """Refuse results in the run's folder that another config made, or that have changed since."""
    found = read_record(run.folder / "run.json").get("run_hash")
    if found != run.hash:
        raise UserError(
            f"{run.folder}/run.json: made by config {found}, this config is {run.hash}; train again or restore it"
        )
    verify_files(run.folder / "run.json")
