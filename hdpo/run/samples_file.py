"""The Parquet file of samples: one row for each response of student or teacher."""

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdpo.system.errors import UserError
from hdpo.system.files import write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = "samples.parquet"


def schema() -> "pa.Schema":
    """The columns of a samples file.

    `step` counts from 0. `kind` is cliff, mixed or solved, as the step's rollouts say, or followed: the student's new
    tries on a cliff of an earlier sample. `role` is student or teacher. `kept` says whether the student learned from a
    teacher's try. `tokens` and `jsd` (nats) are there for one kept try of each cliff.
    """
    import pyarrow as pa

    columns = {"step": pa.int32(), "problem": pa.string(), "kind": pa.string(), "role": pa.string()}
    columns |= {"number": pa.int16(), "reward": pa.int8(), "kept": pa.bool_(), "prompt": pa.string()}
    columns |= {"text": pa.string(), "tokens": pa.list_(pa.string()), "jsd": pa.list_(pa.float32())}
    return pa.schema(columns)


def write_samples(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows; equal rows give equal bytes. They go by way of JSON, as in `hdpo.run.outcomes`."""
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet as pq

    columns = schema()
    lines = "\n".join(map(json.dumps, rows)).encode()
    options = pa.json.ParseOptions(explicit_schema=columns)
    reading = pa.json.ReadOptions(use_threads=False, block_size=len(lines) + 1)  # a row may be longer than a block
    table = pa.json.read_json(BytesIO(lines), reading, options) if rows else pa.Table.from_batches([], columns)
    table = table.select(columns.names)
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_samples` wrote.

    Raises:
        UserError: the file is damaged, or is no file of samples.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = schema()
        return pq.ParquetFile(path).read(columns.names).cast(columns).to_pylist()  # read_table imports pandas
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path}: damaged, or no samples as this version writes them; train again") from error
