"""Outcomes: one greedy answer and n sampled ones of each problem, right or wrong, and the Parquet file they go to."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdpo.system.files import write_atomic
from hdpo.tasks import Problem

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from hdpo.sampling.sampler import Sampler
    from hdpo.sampling.vllm_sampler import VllmSampler
    from hdpo.tasks.scoring import Scorer


def evaluate(
    scorer: "Scorer",
    sampler: "Sampler | VllmSampler",
    problems: Sequence[Problem],
    samples: int,
    temperature: float,
    random: "torch.Generator",
) -> list[dict[str, Any]]:
    """One row per problem: the greedy outcome, and the n sampled outcomes in draw order."""
    from hdpo.model.tokenizer import encode

    prompts = encode(scorer.tokenizer, [scorer.task.student_prompt(problem) for problem in problems])
    greedy = scorer.judge(problems, sampler.sample(prompts, 1, 0.0).sequences.completions).rewards
    sampled = sampler.sample(prompts, samples, temperature, random).sequences.completions
    rewards = scorer.judge(problems, sampled).rewards
    return [
        {"problem": problem.id, "difficulty": problem.difficulty, "greedy": first, "samples": others}
        for problem, first, others in zip(problems, greedy[:, 0].int().tolist(), rewards.int().tolist(), strict=True)
    ]


def schema(with_steps: bool) -> "pa.Schema":
    """The columns and types of an outcomes file; `with_steps`: of evaluations during training."""
    import pyarrow as pa

    steps = {"step": pa.int32(), "split": pa.string()} if with_steps else {}
    outcomes = {"greedy": pa.int8(), "samples": pa.list_(pa.int8())}
    return pa.schema(steps | {"problem": pa.string(), "difficulty": pa.int32()} | outcomes)


def write_outcomes(path: Path, rows: list[dict[str, Any]], metadata: dict[str, Any]) -> None:
    """Write outcomes as Parquet; `metadata` names run, seed, run hash and problem sets.

    They go by way of JSON: pyarrow's other ways from Python to a table import pandas, a third of a second in each
    process.
    """
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet as pq

    columns = schema(with_steps="step" in rows[0])
    lines = "\n".join(map(json.dumps, rows)).encode()
    parsed = pa.json.read_json(BytesIO(lines), parse_options=pa.json.ParseOptions(explicit_schema=columns))
    stated = {b"hdpo": json.dumps(metadata, sort_keys=True).encode()}
    table = parsed.select(columns.names).replace_schema_metadata(stated)
    write_atomic(path, lambda temporary: pq.write_table(table, temporary))


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_outcomes` wrote."""
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()
