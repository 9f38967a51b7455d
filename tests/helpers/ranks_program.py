"""What `test_ranks.py` runs in one process and, through torchrun, in two: python ranks_program.py FOLDER OUT."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from hdpo.learning.trainer import Trainer
from hdpo.methods.hdpo import HDPO
from hdpo.model import forward
from hdpo.run.checkpoint import EVALS, METRICS, load_checkpoint, save_checkpoint
from hdpo.run.score import evaluate
from hdpo.run.train import save_policy
from hdpo.study.study import load_study
from hdpo.system import ranks
from hdpo.system.errors import UserError
from hdpo.system.finite import NotFinite
from helpers.steps import timeless

# Study file and run. Of the micro-batches of 24 tokens one rank has more than the other.
CASES = {
    "decoder-replicate": "hdpo-frozen-1+privileged_rollouts=12",
    "decoder-shard": "hdpo-drifting-1+privileged_rollouts=12",
    "llama-tied-shard": "hdpo-drifting-1+privileged_rollouts=12",
    "llama-untied-shard": "hdpo-frozen-1+privileged_rollouts=12",
}


def reward(problem, response: str) -> float:
    """Correct are about one in six responses, so that random weights have successes, cliffs and demonstrations."""
    return float(sum(map(ord, response)) % 6 == 0)


def trainer_of(folder: Path, case: str) -> Trainer:
    trainer = Trainer(load_study(folder / f"{case}.yaml").run(CASES[case], 1))
    trainer.task.reward = reward
    return trainer


def steps(trainer: Trainer, numbers: range) -> list[dict]:
    """The metrics of these steps, timings aside."""
    return [timeless(trainer.step(i)) for i in numbers]


def state(trainer: Trainer) -> dict[str, Tensor]:
    """Weights and gradients, whole."""
    named = dict(trainer.policy.named_parameters())
    gradients = {f"gradient of {name}": ranks.whole(parameter.grad).clone() for name, parameter in named.items()}
    return {name: ranks.whole(parameter.detach()).clone() for name, parameter in named.items()} | gradients


def three_steps(folder: Path, case: str) -> dict:
    trainer = trainer_of(folder, case)
    records = steps(trainer, range(3))
    problems, random = trainer.problems[:7], torch.Generator().manual_seed(0)
    outcomes = evaluate(trainer.scorer, trainer.sampler, problems, 3, 1.0, random)  # 7 problems: shares of 3 and 4
    save_policy(trainer, folder / f"{case}-{ranks.size()}")
    return {"records": records, "state": state(trainer), "outcomes": outcomes}


def touch_logs(out: Path) -> None:
    for name in (METRICS, EVALS):
        (out / name).touch()


def resumed_steps(folder: Path, case: str) -> tuple[dict, dict]:
    """Step 1 and the state after it: of a trainer that goes on, and of one that goes on from its checkpoint."""
    going_on, resumed = trainer_of(folder, case), trainer_of(folder, case)
    steps(going_on, range(1))
    place = (folder / f"state-{case}", 1, "0" * 12)
    learner = going_on.learner
    save_checkpoint(
        *place, learner.weights, learner.optimizer, lambda out: [(out / name).touch() for name in (METRICS, EVALS)]
    )
    load_checkpoint(place[0], place[2], resumed.learner.weights, resumed.learner.optimizer)
    return tuple({"records": steps(trainer, range(1, 2)), "state": state(trainer)} for trainer in (going_on, resumed))


def said(fails: Callable[[], object]) -> list[str]:
    """What the error says on each rank."""
    try:
        fails()
    except UserError as error:
        return ranks.gather(str(error))
    return ranks.gather("no error")


def errors(folder: Path, case: str) -> dict[str, list[str]]:
    """Of numbers that go wrong on the last rank only, on each rank."""
    found = {}
    is_last = ranks.rank() == ranks.size() - 1

    def no_number(_, student_logits: Tensor, *targets: Tensor) -> Tensor:
        return student_logits.sum(-1) * torch.nan

    def refuse(*_):
        raise NotFinite("rewards: neither 0 nor 1")

    trainer = trainer_of(folder, case)
    trainer.task.reward = refuse if is_last else reward
    found["task"] = said(lambda: trainer.step(0))
    trainer = trainer_of(folder, case)
    trainer.task.reward = lambda *_: float("nan") if is_last else 0.0
    found["reward"] = said(lambda: trainer.step(0))
    trainer = trainer_of(folder, case)
    if is_last:
        with torch.no_grad():
            next(trainer.policy.parameters()).fill_(torch.nan)
    found["weights"] = said(lambda: trainer.step(0))
    trainer = trainer_of(folder, case)
    with mock.patch.object(HDPO, "divergence", no_number) if is_last else nullcontext():
        found["loss"] = said(lambda: trainer.step(0))
    return found


def main(folder: Path, out: Path) -> None:
    ranks.start(threads=1, on_gpu=False)
    torch.set_num_threads(1)
    forward.LOGITS_CHUNK = 400  # some five tokens: the head of a sharded model runs often outside of its root's forward
    results = {
        "steps": {case: three_steps(folder, case) for case in CASES},
        "resumed": {case: resumed_steps(folder, case) for case in ("decoder-replicate", "llama-tied-shard")},
        "errors": errors(folder, "decoder-replicate"),
    }
    if ranks.is_main():
        torch.save(results, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
