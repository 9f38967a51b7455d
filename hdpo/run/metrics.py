"""The metrics file of a run: JSON lines, one for each step."""

import json
import math
from pathlib import Path
from typing import Any

from hdpo.system.finite import NotFinite


class MetricsFile:
    """One JSON object per step, appended to what the checkpoint holds, so that no step is doubled or lost."""

    def __init__(self, path: Path, before: bytes) -> None:
        """Start the file anew with `before`, the lines of the steps already done."""
        self.path = path
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115  (lives as long as the run)
        self._append(before)

    def write(self, metrics: dict[str, Any]) -> None:
        """Append one step.

        Raises:
            NotFinite: one of its numbers is NaN or infinite, which JSON cannot hold.
        """
        for name, value in metrics.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise NotFinite(f"metric {name} is {value}")
        self._append(json.dumps(metrics, allow_nan=False).encode() + b"\n")

    def _append(self, data: bytes) -> None:
        """All of `data` or an error: a nearly full disk takes a part of it first."""
        try:
            while data:
                data = data[self.file.write(data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
