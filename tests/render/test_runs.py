"""Names of runs: taken apart, and as labels."""

import pytest

from hdpo.render.runs import family_label, parse_run, run_label


@pytest.mark.parametrize(
    ("run", "family", "values", "settings", "label"),
    [
        ("base", "base", (), (), "base model"),
        ("grpo", "grpo", (), (), "GRPO"),
        ("hdpo-frozen-0.1", "hdpo-frozen", (0.1,), (), "HDPO frozen, λ = 0.1"),
        ("hdpo-drifting-1e-05", "hdpo-drifting", (1e-5,), (), "HDPO drifting, λ = 1e-05"),
        ("hdpo-drifting-1+top_k=32", "hdpo-drifting", (1.0,), ("top_k=32",), "HDPO drifting, λ = 1, top_k = 32"),
        ("grpo-kl-0.01", "grpo-kl", (0.01,), (), "grpo-kl, 0.01"),
        ("grpo+clip=0.1", "grpo", (), ("clip=0.1",), "GRPO, clip = 0.1"),
        ("toy-3", "toy", (3.0,), (), "toy, 3"),
        ("toy-3-0.5+eps=1e+2+a=b", "toy", (3.0, 0.5), ("eps=1e+2", "a=b"), "toy, 3, 0.5, eps = 1e+2, a = b"),
        ("7", "7", (), (), "7"),
    ],
)  # fmt: skip
def test_names_are_taken_apart_and_labelled(run, family, values, settings, label):
    name = parse_run(run)
    assert (name.family, name.values, name.settings) == (family, values, settings)
    assert run_label(run) == label


def test_families_are_called_by_their_teacher_or_name():
    assert [family_label(f) for f in ("hdpo-drifting", "grpo", "toy")] == ["drifting teacher", "GRPO", "toy"]
