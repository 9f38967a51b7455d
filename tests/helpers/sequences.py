"""Four short sequences of random tokens, of different lengths."""

import torch

from hdpo.model.sequences import Sequences


def sequences() -> Sequences:
    random = torch.Generator().manual_seed(3)
    draw = lambda n: torch.randint(2, 76, (n,), generator=random)  # noqa: E731
    return Sequences([draw(n) for n in (4, 9, 5, 4)], [draw(n) for n in (6, 1, 11, 3)])
