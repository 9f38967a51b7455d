"""AdamW and the learning rate's schedule.

The decorators of PyTorch's optimisers import its compiler, which takes longer than all else before a first step, 1.4 s.
Nothing is compiled here, so this class uses the undecorated methods.
"""

from typing import Any

import torch
from torch.optim import Optimizer as TorchOptimizer

from hdpo.study.schema import Optimizer


def _plain(method: Any) -> Any:
    return getattr(method, "__wrapped__", method)


class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, without the import of its compiler."""

    add_param_group = _plain(TorchOptimizer.add_param_group)
    zero_grad = _plain(TorchOptimizer.zero_grad)
    step = torch.no_grad()(_plain(torch.optim.AdamW.step))


def learning_rate(config: Optimizer, step: int) -> float:
    """Linear warm-up from `warmup_start` × to 1 × over `warmup_steps`, then constant (paper Table 2)."""
    done = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    return config.learning_rate * (config.warmup_start + (1 - config.warmup_start) * done)
