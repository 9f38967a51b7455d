"""What a step of `HDPOTrainer` costs beside one of TRL's `GRPOTrainer`, and what the tokens that it adds cost alone.

    python -m benchmarks.trl_overhead [--out results/reference/trl/cost.json] [--quick]    (a table by `trl_curves`)

A quarter of a step's prompts are made cliffs, and every privileged rollout counts as right, so that the most tokens are
distilled. Both trainers take the same prompts and draw the same rollouts. The added tokens' own cost is that of bare
calls: `generate` on the privileged prompts, a forward pass of the teacher, and forward and backward of the student.
"""

import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.part import run_part, still_study
from benchmarks.tables import interval
from benchmarks.timing import alternate, ratio
from benchmarks.trl import RUN_SEED, TurnTaker, settings
from benchmarks.workload import Size, plain_model, plain_tokenizer, write_study
from hdpo.render.table import make_table, to_markdown
from hdpo.study.study import Study, load_study
from hdpo.system.rng import draw_prompts

SIZES = (  # with TRL's sequences per forward pass, as in `benchmarks.peers`, and rounds
    (Size("0.5M"), 64, 21),
    (Size("8M", hidden=320, layers=6, heads=5, prompts=8), 128, 5),
)
CLIFFS = 0.25  # of a step's prompts
PRIVILEGED = 4  # rollouts of a cliff


def measure(quick: bool) -> dict[str, Any]:
    """Seconds of a step of both trainers, and of the tokens that HDPO adds."""
    sizes = [(*SIZES[0][:2], 2)] if quick else SIZES
    peers = {name: version(name) for name in ("trl", "accelerate")}
    return {"peers": peers, "cliffs": CLIFFS, "privileged": PRIVILEGED, "rows": [compare(*size) for size in sizes]}


def compare(size: Size, rows: int, rounds: int) -> dict[str, Any]:
    """One size: medians, paired ratios over rounds with their intervals, and the tokens of a step."""
    with tempfile.TemporaryDirectory() as name:
        study, steps = still_study(load_study(write_study(size, Path(name)))), rounds + 2
        # One step more than is timed warms up, and one is never taken: TRL must not end its run within a turn.
        rewards = {kind: Rewards(size.group) for kind in ("grpo", "hdpo")}
        turns = {
            kind: TurnTaker(lambda stop, kind=kind: make_trainer(kind, study, rows, steps, name, rewards[kind], stop))
            for kind in rewards
        }
        trainer, model, distilled = turns["hdpo"].trainer, plain_model(study.base_path), []

        def tokens_alone() -> None:
            found = [pair for part in trainer._parts for batch in part for pair in batch]
            distilled.append(sum(number * len(one.completion) for one, number in found))
            make_alone(model, found, trainer)

        cases = {kind: with_seeds(turn.step) for kind, turn in turns.items()} | {"tokens": with_seeds(tokens_alone)}
        seconds = alternate(cases, rounds)
    grpo, hdpo, tokens = seconds.values()
    drawn = {kind: mean(found.rollouts[-rounds:]) for kind, found in rewards.items()}
    drawn |= {"privileged": mean(rewards["hdpo"].privileged[-rounds:]), "distilled": mean(distilled[-rounds:])}
    return {
        "size": size.name,
        "parameters": model.num_parameters(),
        "prompts": size.prompts,
        "group": size.group,
        "rounds": rounds,
        "tokens": drawn,
        "seconds": {kind: round(median(values), 4) for kind, values in seconds.items()},
        "ratio": ratio(hdpo, grpo),
        "beyond_tokens": ratio(np.subtract(hdpo, tokens).tolist(), grpo),
    }


class Rewards:
    """A reward function: the first prompts of a step are cliffs, in other groups every second rollout is right.

    Every privileged rollout is right: these come in calls with fewer rollouts than a step has.
    """

    __name__ = "reward"

    def __init__(self, group: int) -> None:
        self.group = group
        self.rollouts: list[int] = []  # tokens of a step
        self.privileged: list[int] = []

    def __call__(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        tokens, total = sum(map(len, completion_ids)), len(completion_ids)
        if len(self.rollouts) > len(self.privileged) and total < self.step:
            self.privileged.append(tokens)
            return [1.0] * total
        self.step = total
        self.rollouts.append(tokens)
        return [float(i >= CLIFFS * total and i % 2) for i in range(total)]


def make_trainer(kind: str, study: Study, rows: int, steps: int, out: str, reward: Rewards, stop: list) -> Any:
    """`GRPOTrainer` or `HDPOTrainer` on the study's base model, with the same settings and prompts."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from hdpo.trl import HDPOConfig, HDPOTrainer

    task = study.task.load(study)
    problems = task.problems("train")
    drawn = [
        problems[i]
        for step in range(steps)
        for i in draw_prompts(RUN_SEED, step, study.train.prompts_per_step, len(problems))
    ]
    columns = {
        "prompt": [task.student_prompt(one) for one in drawn],
        "shown": [task.privileged_prompt(one) for one in drawn],
    }
    args, more = settings(study, steps, rows, Path(out)), {}
    trainer, config = GRPOTrainer, GRPOConfig
    if kind == "hdpo":
        trainer, config = HDPOTrainer, HDPOConfig
        args |= {"privileged_rollouts": PRIVILEGED}
        more = {"privileged_prompt": lambda example: example["shown"]}
    return trainer(
        plain_model(study.base_path),
        reward,
        config(**args | {"learning_rate": 1e-12}),
        Dataset.from_dict(columns),
        processing_class=plain_tokenizer(study.base_path),
        callbacks=stop,
        **more,
    )


def make_alone(model: nn.Module, demonstrations: list, trainer: Any) -> None:
    """Draw as many privileged rollouts as a step had, and send its demonstrations through the network, bare.

    Each distinct one goes through once, as in the trainer: without a gradient under the teacher's prompt, and with one
    under the student's.
    """
    shown = [list(one.teacher) for one, number in demonstrations for _ in range(number)]
    prompts = trainer.processing_class.pad({"input_ids": shown}, return_tensors="pt")
    with torch.no_grad():
        model.generate(**prompts, generation_config=trainer.generation_config)
    rows = trainer.args.per_device_train_batch_size
    for start in range(0, len(demonstrations), rows):
        part = [one for one, _ in demonstrations[start : start + rows]]
        keep = max(len(one.completion) for one in part) + 1
        for role in ("teacher", "student"):
            texts = [[*getattr(one, role), *one.completion] for one in part]
            batch = trainer.processing_class.pad({"input_ids": texts}, return_tensors="pt")
            with torch.set_grad_enabled(role == "student"):
                logits = model(**batch, logits_to_keep=keep).logits
        logits.sum().backward()
        model.zero_grad()


def cost_table(result: dict[str, Any]) -> str:
    """The measured costs as Markdown."""
    rows = [
        {
            "model": row["size"],
            "P × G": f"{row['prompts']} × {row['group']}",
            "GRPO, s": f"{row['seconds']['grpo']:.3f}",
            "HDPO, s": f"{row['seconds']['hdpo']:.3f}",
            "its tokens alone, s": f"{row['seconds']['tokens']:.3f}",
            "tokens: rollouts + privileged + distilled": "{grpo:,.0f} + {privileged:,.0f} + {distilled:,.0f}".format(
                **row["tokens"]
            ),
            "HDPO / GRPO [95 %]": interval(row["ratio"]),
            "without its tokens [95 %]": interval(row["beyond_tokens"]),
        }
        for row in result["rows"]
    ]
    return to_markdown(make_table("trl-cost", pd.DataFrame(rows)))


def with_seeds(run: Callable[[], None]) -> Callable[[], None]:
    """`run` with the random seed 0 the first time, 1 the next: contenders that draw alike get the same rollouts."""
    seeds = count()

    def seeded() -> None:
        torch.manual_seed(next(seeds))
        run()

    return seeded


if __name__ == "__main__":
    sys.exit(run_part("trl_overhead", measure))
