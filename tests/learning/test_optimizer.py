"""AdamW and the warm-up of its learning rate."""

import subprocess
import sys

import pytest

from hdpo.learning.optimizer import learning_rate


def test_warm_up_is_linear_then_constant(make_study):
    optimizer = make_study(train__optimizer__learning_rate=1e-6, train__optimizer__warmup_steps=50).train.optimizer
    assert learning_rate(optimizer, 0) == pytest.approx(1e-7)
    assert learning_rate(optimizer, 25) == pytest.approx(0.55e-6)
    assert learning_rate(optimizer, 50) == learning_rate(optimizer, 1999) == pytest.approx(1e-6)


def test_the_optimiser_is_pytorchs_and_leaves_the_compiler_alone():
    program = """
import sys, torch
from hdpo.learning.optimizer import AdamW

def moved(kind):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = kind([weight], lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        (weight**3).sum().backward()
        optimizer.step()
    return weight.detach()

ours = moved(AdamW)
assert "torch._dynamo" not in sys.modules
assert torch.equal(ours, moved(torch.optim.AdamW))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
