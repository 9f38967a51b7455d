"""Where a model stands on the map: a made-up map of two base models, read by hand."""

import pandas as pd
import pytest

from hdpo.report.place import place

ROWS = [
    (depth, weight, subset, metric, 120, low, high)
    for depth, shift in ((0.0, 0.10), (0.02, 0.0))
    for weight in (0.1, 1.0, 3.0)
    for subset, metric, low, high in (
        ("size 5", "pass@8", 0.01 + shift, 0.05 + shift),
        ("size 5", "greedy", -0.02 + shift, 0.03 + shift),
        ("all", "pass@8", 0.5, 0.6),
    )
]
MAP = pd.DataFrame(ROWS, columns=["depth", "weight", "subset", "metric", "step", "low", "high"])


def test_between_two_base_models_the_widest_ends_are_told():
    where, *changes, note = place(0.01, MAP)
    assert "1.00%" in where and "between base models at 0.00% and 2.00%" in where
    assert len(changes) == 2 and "pass@8 by +1.0 to +15.0 points" in changes[0]
    assert "λ = 1 changed" in changes[1] and "greedy by −2.0 to +13.0 points" in changes[1]
    assert "120 steps" in note


@pytest.mark.parametrize(
    ("depth", "words", "ends"),
    [(0.0, "as a base model at 0.00%", "+11.0 to +15.0"), (0.3, "beyond the map, whose shallowest", "+1.0 to +5.0")],
)
def test_at_a_base_model_and_beyond_the_map(depth, words, ends):
    where, first, *_ = place(depth, MAP)
    assert words in where and ends in first
