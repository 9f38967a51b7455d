"""NaN and infinities stop a run where they arise; the message names the value. None is skipped, averaged or saved."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hdpo.system.errors import UserError


class NotFinite(UserError):
    """A number that training cannot use."""


def require_finite(what: str, values: Tensor) -> None:
    """Check values of any shape.

    Raises:
        NotFinite: a value is NaN or infinite; the message gives their number and the first.
    """
    bad = values[~torch.isfinite(values)]
    if len(bad):
        raise NotFinite(f"{what}: {len(bad)} of {values.numel()} not finite (first: {float(bad[0])})")


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` (the run and its step) before the message of a `NotFinite` raised inside."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{where}: {error}; nothing of this step was saved") from error
