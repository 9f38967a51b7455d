"""One update of the weights from a batch made by hand, as a method's step makes it."""

from benchmarks.phases import update

__all__ = ["update"]
