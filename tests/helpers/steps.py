"""Batches made by hand, and one update of the weights from them, as a method's step makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.phases import update
from hdpo.learning.teacher import NO_DEMONSTRATIONS, Demonstrations
from hdpo.learning.trainer import Trainer
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Rollouts
from hdpo.system.rng import generator


def sample(trainer: Trainer, count: int = 4, group: int = 4) -> Rollouts:
    """`group` rollouts of each of the first `count` training problems."""
    problems = trainer.problems[:count]
    prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(problem) for problem in problems])
    return trainer.sampler.sample(prompts, group, 1.0, generator(0, "test"))


def correct_demonstrations(trainer: Trainer, count: int = 3) -> Demonstrations:
    """The paper's set T made by hand: each problem's reference chain, as if the teacher had drawn it."""
    problems = trainer.problems[:count]
    completions = encode(trainer.tokenizer, [problem.hint + " <eos>" for problem in problems])
    assert all(trainer.task.reward(problem, problem.hint) == 1 for problem in problems)
    student, teacher = (
        Sequences(encode(trainer.tokenizer, [prompt(problem) for problem in problems]), completions)
        for prompt in (trainer.task.student_prompt, trainer.task.privileged_prompt)
    )
    return Demonstrations(student, teacher, len(problems), 0)


@contextmanager
def caught(trainer: Trainer) -> Iterator[dict[str, Tensor]]:
    """Receives the gradients of an update inside, before clipping and the optimiser step."""
    found: dict[str, Tensor] = {}

    def catch(*_):
        for name, parameter in trainer.policy.named_parameters():
            found[name] = parameter.grad.clone()
        return torch.tensor(0.0)

    with patch("torch.nn.utils.clip_grad_norm_", catch):
        yield found


def gradients(
    trainer: Trainer, rollouts: Rollouts, advantages: Tensor, demonstrations: Demonstrations = NO_DEMONSTRATIONS
) -> dict[str, Tensor]:
    """Gradients of one update."""
    with caught(trainer) as found:
        update(trainer, rollouts, advantages, demonstrations)
    return found


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a step without its timings: what two equal runs share."""
    return {key: value for key, value in record.items() if key not in ("seconds", "tokens_per_second")}
