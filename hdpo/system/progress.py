"""Progress: a bar on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

LINES = 20  # about how many lines a run writes to a log


class progress:
    """Iterates like tqdm. If `shown`, `set_postfix` puts figures beside the step and the time left."""

    def __init__(self, steps: Iterable[Any], title: str, shown: bool = True) -> None:
        self.steps, self.title, self.shown = list(steps), title, shown
        self.figures: dict[str, Any] = {}
        self.bar = None
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=len(self.steps), desc=title, dynamic_ncols=True)

    def set_postfix(self, **figures: Any) -> None:
        self.figures = figures
        if self.bar:
            self.bar.set_postfix(**figures, refresh=False)

    def __iter__(self) -> Iterator[Any]:
        started, total = time.monotonic(), len(self.steps)
        every = max(1, total // LINES)
        for done, step in enumerate(self.steps, start=1):
            yield step
            if self.bar:
                self.bar.update()
            elif self.shown and (done % every == 0 or done == total):
                left = (time.monotonic() - started) / done * (total - done)
                shown = " ".join(f"{name}={value}" for name, value in self.figures.items())
                print(f"{self.title} {done}/{total} {shown} left={left:.0f}s", file=sys.stderr, flush=True)
        if self.bar:
            self.bar.close()
