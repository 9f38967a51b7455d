"""A long run of small steps: resident memory and open files stay where they are."""

import os
from pathlib import Path

from torture.victims import NAME, hdpo, output, row, wait, workplace

STEPS, QUICK = 10_000, 300
TOLERANCE = 0.02


def run(quick: bool) -> list[dict]:
    """Trains, reading resident memory and the number of open files every hundredth of the run."""
    steps = QUICK if quick else STEPS
    small = {
        "train__steps": steps,
        "train__checkpoint_every": steps // 10,
        "train__prompts_per_step": 2,
        "train__rollouts_per_prompt": 4,
        "train__max_response_tokens": 4,
        "train__log_gradient_norms": False,
        "evaluate__every": steps,
    }
    with workplace(**small):
        code = wait(hdpo(["train", "study.yaml", "--run", NAME, "--seed", "1"], lambda: _watch(steps // 100)))
        assert code == 0, output()
        seen = [tuple(map(int, line.split())) for line in Path("memory.txt").read_text().splitlines()]
    warm = len(seen) // 10  # the allocator has seen every shape by then
    memory, files = [pages for pages, _ in seen[warm:]], [count for _, count in seen]
    growth = max(memory[-len(memory) // 4 :]) / max(memory[: len(memory) // 4]) - 1
    flat, constant = growth <= TOLERANCE, len(set(files)) == 1
    told = f"memory {100 * growth:+.1f} % from first to last quarter, open files {min(files)} to {max(files)}"
    good = flat and constant
    return [row(f"{steps} steps: resident memory and open files", 1, int(good), f"nothing: {told}" if good else told)]


def _watch(every: int) -> None:
    """In this process, note pages resident and files open after each `every`-th step."""
    from hdpo.learning.trainer import Trainer

    before = Trainer.step

    def step(self, now):
        record = before(self, now)
        if (now + 1) % every == 0:
            pages = Path("/proc/self/statm").read_text().split()[1]
            with open("memory.txt", "a") as out:
                out.write(f"{pages} {len(os.listdir('/proc/self/fd'))}\n")
        return record

    Trainer.step = step
