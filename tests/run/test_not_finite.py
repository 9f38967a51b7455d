"""NaN and infinities: they stop the run by name, and no file ever holds one."""

import json
import math

import pytest
import torch

from hdpo.run.metrics import MetricsFile
from hdpo.system.finite import NotFinite, located, require_finite
from torture import nonfinite


def test_numbers_that_are_not_finite_stop_the_run_and_the_checkpoint_carries_on(trained_base):
    for row in nonfinite.run(quick=True, base=trained_base):
        assert row["tries"] > 0 and row["lost"] == "nothing", row


def test_what_is_not_finite_is_counted_and_located():
    with (
        pytest.raises(NotFinite, match=r"run a step 3: rewards: 2 of 4 not finite \(first: inf\)"),
        located("run a step 3"),
    ):
        require_finite("rewards", torch.tensor([[0.0, math.inf], [math.nan, 1.0]]))
    require_finite("nothing", torch.empty(0))


def test_metrics_refuse_what_json_cannot_hold(tmp_path):
    """The lines of the steps already done stay, and a refused step leaves nothing behind them."""
    metrics = MetricsFile(tmp_path / "metrics.jsonl", b'{"step": 0}\n')
    metrics.write({"step": 1, "loss": 0.5})
    for value in (math.inf, math.nan):
        with pytest.raises(NotFinite, match=f"metric ratio_max is {value}"):
            metrics.write({"step": 2, "ratio_max": value})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 0}, {"step": 1, "loss": 0.5}]
