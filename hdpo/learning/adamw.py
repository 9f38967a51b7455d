"""PyTorch's AdamW without its import of PyTorch's compiler, which takes longer than all else before a first step.

Its methods carry wrappers that keep the compiler off them, and that import it to do so: 1.4 s of a process's start.
Here nothing is compiled, and the methods stand without them.
"""

from typing import Any

import torch
from torch.optim import Optimizer


def _plain(method: Any) -> Any:
    return getattr(method, "__wrapped__", method)


class AdamW(torch.optim.AdamW):
    add_param_group = _plain(Optimizer.add_param_group)
    zero_grad = _plain(Optimizer.zero_grad)
    step = torch.no_grad()(_plain(torch.optim.AdamW.step))
