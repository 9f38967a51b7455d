"""The Parquet file of outcomes: one greedy answer and n sampled ones of each problem, right or wrong."""

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdpo.system.files import write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

# Columns beside right and wrong, over the samples: distinct correct texts, repetitions of y*, and the means of the
# length in tokens and of the entropy of a token in nats.
DETAILS = ("distinct", "echoes", "length", "entropy")


def test_split(temperature: float) -> str:
    """What outcomes call the test problems at another temperature than the training's."""
    return f"test at {temperature:g}"


def problems_of(split: str) -> str:
    """The split whose problems were asked: `test` of a `test_split`, and any other itself."""
    return split.partition(" at ")[0]


def schema() -> "pa.Schema":
    """The columns and types of an outcomes file. `step` counts the training steps of the evaluated weights."""
    import pyarrow as pa

    problem = {"step": pa.int32(), "split": pa.string(), "problem": pa.string(), "difficulty": pa.int32()}
    outcomes = {"greedy": pa.int8(), "samples": pa.list_(pa.int8()), "distinct": pa.int16(), "echoes": pa.int16()}
    outcomes |= {"length": pa.float32(), "entropy": pa.float32()}
    return pa.schema(problem | outcomes)


def write_outcomes(path: Path, rows: list[dict[str, Any]], metadata: dict[str, Any]) -> None:
    """Write outcomes as Parquet; `metadata` names run, seed, run hash and problem sets.

    They go by way of JSON: pyarrow's other ways from Python to a table import pandas, a third of a second in each
    process.
    """
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet as pq

    columns = schema()
    lines = "\n".join(map(json.dumps, rows)).encode()
    options = pa.json.ParseOptions(explicit_schema=columns)
    parsed = pa.json.read_json(BytesIO(lines), parse_options=options) if rows else pa.Table.from_batches([], columns)
    stated = {b"hdpo": json.dumps(metadata, sort_keys=True).encode()}
    table = parsed.select(columns.names).replace_schema_metadata(stated)
    write_atomic(path, lambda temporary: pq.write_table(table, temporary))


def read_outcomes(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_outcomes` wrote."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read().to_pylist()  # `read_table` would load pandas
