"""Progress: a bar on a terminal, plain lines in a log."""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

LINES = 20  # about how many lines a run writes to a log
BAR = 6  # cells that a bar has at least


class progress:
    """Iterates like tqdm. If `shown`, `set_postfix` puts figures beside the step and the time left."""

    def __init__(self, steps: Iterable[Any], title: str, shown: bool = True, initial: int = 0) -> None:
        """`initial`: steps done before, which count in what is shown and not in the time left."""
        self.steps, self.title, self.shown, self.initial = list(steps), title, shown, initial
        self.total = initial + len(self.steps)
        self.figures: dict[str, Any] = {}
        self.bar = None
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.total, initial=initial, bar_format="{desc}", file=sys.stderr)
            self._draw(None)

    def set_postfix(self, **figures: Any) -> None:
        self.figures = figures

    def __iter__(self) -> Iterator[Any]:
        started, every = time.monotonic(), max(1, self.total // LINES)
        for done, step in enumerate(self.steps, start=1):
            yield step
            left = (time.monotonic() - started) / done * (len(self.steps) - done)
            done += self.initial
            if self.bar:
                self.bar.update()
                self._draw(left)
            elif self.shown and (done % every == 0 or done == self.total):
                shown = " ".join(f"{name}={value}" for name, value in self.figures.items())
                print(f"{self.title} {done}/{self.total} {shown} left={left:.0f}s", file=sys.stderr, flush=True)
        if self.bar:
            self.bar.close()

    def _draw(self, left: float | None) -> None:
        if self.bar:
            shown = line(self.title, self.bar.n, self.total, left, self.figures, _columns())
            self.bar.set_description_str(shown)


def _columns() -> int:
    """The terminal's width. stderr is asked, as stdout may be a file."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def line(title: str, done: int, total: int, left: float | None, figures: dict[str, Any], columns: int) -> str:
    """One line of at most `columns` − 1 characters: title, bar, step, time left and figures.

    Where room is short, the title is cut first, then the bar goes, then the last figures.
    """
    from tqdm import tqdm

    counted = f"{done}/{total}" + (f" {tqdm.format_interval(left)} left" if left is not None else "")
    behind = [counted, *(f"{name} {value}" for name, value in figures.items())]
    room = columns - 1
    while len(behind) > 1 and len(" ".join(behind)) > room:
        behind.pop()
    text = " ".join(behind)
    room -= len(text)
    if room < BAR + 1:
        return text
    if room < BAR + 4:  # too little for a title
        title = ""
    elif len(title) > (most := room - BAR - 2):
        title = title[: most - 1].rstrip() + "…"
    cells = min(room - 1 - (len(title) + 1 if title else 0), 40)
    bar = ("█" * (cells * done // max(1, total))).ljust(cells, "·")
    return " ".join([*([title] if title else []), bar, text])
