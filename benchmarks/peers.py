"""A GRPO step and a whole training run of the kit beside TRL's: same model, prompts, rewards, lengths, optimiser.

TRL is not part of the kit: this part runs in an environment of its own.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.part import run_part
from benchmarks.timing import alternate, ratio
from benchmarks.trl import RUN_SEED, TurnTaker, make_trainer
from benchmarks.workload import KitScorer, Size, Work, write_study
from hdpo.study.study import Study, load_study
from hdpo.system.errors import UserError

# Size, TRL's sequences per forward pass, and rounds. Of the numbers of sequences tried, 16 to 256, this is the fastest.
# It matters little, except with 32,000 tokens: there TRL takes 1.4 times as long with 64 as with 16.
SIZES = (
    (Size("0.5M"), 64, 15),
    (Size("2M", hidden=192, layers=4, heads=4), 64, 5),
    (Size("8M", hidden=320, layers=6, heads=5, prompts=8), 128, 4),
    (Size("30M", hidden=512, layers=9, heads=8, prompts=4), 32, 3),
    (Size("30M, 32k tokens", hidden=512, layers=4, heads=8, vocabulary=32_000, prompts=4), 16, 3),
)
RUN_STEPS = 20  # of a whole run


def measure(quick: bool) -> dict[str, Any]:
    """Seconds of a GRPO step by size, and of a whole run, beside TRL's."""
    try:
        peer = version("trl")
    except ImportError as error:
        raise UserError("TRL is not installed here; `make bench` uses an environment that has it") from error
    sizes = [(SIZES[0][0], SIZES[0][1], 2)] if quick else SIZES
    return {
        "trl": peer,
        "rows": [compare_steps(*size) for size in sizes],
        "defaults": compare_steps(*sizes[0], tuned=False),
        "run": compare_runs(SIZES[0][0], SIZES[0][1], rounds=1 if quick else 3),
    }


def compare_steps(size: Size, trl_rows: int, rounds: int, tuned: bool = True) -> dict[str, Any]:
    """Seconds of a step of the kit and of TRL, in turns in one process, and the work that each did.

    Not `tuned`: TRL with its defaults, gradient checkpointing and bfloat16.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = load_study(write_study(size, folder))
        works = {contender: Work(size.group) for contender in ("hdpo", "trl")}

        def make(callbacks: list) -> Any:
            steps = rounds + 2  # one to warm up, and one more: TRL must not end its run within a turn
            return make_trainer(study, size, steps, trl_rows, folder, works["trl"], callbacks, tuned)

        trl = TurnTaker(make)
        seconds = alternate({"hdpo": kit_steps(study, size, works["hdpo"]), "trl": trl.step}, rounds)
    model = trl.trainer.model
    return {
        "size": size.name,
        "parameters": model.num_parameters(),
        "vocabulary": model.config.vocab_size,
        "prompts": size.prompts,
        "group": size.group,
        "trl_rows": trl_rows,
        "work": {contender: work.summary(rounds) for contender, work in works.items()},
        **_timing(seconds),
    }


def kit_steps(study: Study, size: Size, work: Work) -> Callable[[], object]:
    """A function that takes the next step of the kit's trainer."""
    from hdpo.learning.trainer import Trainer

    trainer, steps = Trainer(study.run(study.runs[0], RUN_SEED)), count()
    trainer.scorer = KitScorer(trainer.scorer, size, work)
    return lambda: trainer.step(next(steps))


def compare_runs(size: Size, trl_rows: int, rounds: int) -> dict[str, Any]:
    """Seconds of whole training runs as processes, from start to saved model, in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = write_study(size, folder, steps=RUN_STEPS).resolve()
        [grpo] = load_study(study).runs
        turn = count()

        def run(*command: str) -> None:
            place = folder / f"run{next(turn)}"  # a fresh one: the kit would find its finished run
            place.mkdir()
            done = subprocess.run([sys.executable, "-m", *command], cwd=place, capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")

        kit = ("hdpo.cli", "train", str(study), "--run", grpo, "--seed", str(RUN_SEED))
        trl = ("benchmarks.trl", str(study), "model", str(trl_rows))
        seconds = alternate({"hdpo": lambda: run(*kit), "trl": lambda: run(*trl)}, rounds, warmup=0)
    return {"steps": RUN_STEPS, **_timing(seconds)}


def _timing(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Median seconds of both, the ratio of TRL's to the kit's, and every round."""
    medians = {f"{name}_s": round(median(values), 4) for name, values in seconds.items()}
    rounds = {name: [round(value, 4) for value in values] for name, values in seconds.items()}
    return medians | ratio(seconds["trl"], seconds["hdpo"]) | {"rounds": rounds}


if __name__ == "__main__":
    sys.exit(run_part("peers", measure))
