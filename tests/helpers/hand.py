"""A training step of a hand's size: two prompts of five tokens, three rollouts of six tokens each, rewards as told.

Hints make a prompt eleven tokens long, and y* with the end token has six. So the tokens of a step can be counted, and
its gradient computed anew by autograd from one plain pass for each sequence.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.phases import NO_END
from hdpo.cli import main
from hdpo.learning.trainer import Trainer
from hdpo.model.forward import completion_logits
from hdpo.model.language_model import LanguageModel
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.system.rng import draw_prompts
from hdpo.tasks import Problem
from hdpo.tasks.scoring import Judged
from helpers.steps import caught, timeless

SIZE = {"train__prompts_per_step": 2, "train__rollouts_per_prompt": 3, "train__max_response_tokens": 6}
FAST = {"train__updates_per_batch": 2, "train__optimizer__learning_rate": 0.01, "train__optimizer__warmup_steps": 0}
PROBLEMS = tuple(
    Problem(f"{a}-{a + 1}>{2 * a + 1}", f"{a} {a + 1} > {2 * a + 1} ?", f"{a} + {a + 1} = {2 * a + 1}", difficulty=2)
    for a in range(1, 7)
)
CLIFF, ONE, TWO = [0.0, 0, 0], [1.0, 0, 0], [1.0, 1, 0]  # rewards of a group
# GRPO's advantages there. A success of ONE sees two failures, which do not deviate; a failure sees 1 and 0, of mean 1/2
# and deviation √½. A success of TWO sees 1 and 0, its failure two successes.
OF_CLIFF, OF_ONE, OF_TWO = [0.0] * 3, [1, -math.sqrt(0.5), -math.sqrt(0.5)], [math.sqrt(0.5), math.sqrt(0.5), -1]


class Told:
    """A scorer that says what it was told, call after call."""

    def __init__(self, scorer: Any, rewards: tuple[list[list[float]], ...]) -> None:
        self.task, self.tokenizer, self.rewards = scorer.task, scorer.tokenizer, rewards
        self.given: list[Tensor] = []

    def judge(self, problems: list[Problem], completions: list[Tensor]) -> Judged:
        rewards = torch.tensor(self.rewards[len(self.given)])
        assert rewards.shape == (len(problems), len(completions) // len(problems))
        self.given.append(rewards)
        return Judged(rewards, ["a text"] * len(completions), Counter())

    def is_done(self) -> bool:
        """Whether it was asked for all of them, and nobody has changed one."""
        return [rewards.tolist() for rewards in self.given] == list(self.rewards)


def trainer(make_trainer: Callable[..., Trainer], run: str, **changes: Any) -> Trainer:
    """The run's trainer at this size; no response ends early."""
    made = make_trainer(run, **SIZE | changes)
    made.problems = PROBLEMS
    made.sampler.eos = NO_END
    if made.teacher is not None:
        made.teacher.sampler.eos = NO_END
    return made


def drawn(t: int = 0) -> list[Problem]:
    """The two problems of step t."""
    return [PROBLEMS[i] for i in draw_prompts(1, t, 2, len(PROBLEMS))]


def step(trainer: Trainer, *rewards: list[list[float]], teacher: tuple = (), t: int = 0) -> dict[str, Any]:
    """Step t with the rewards of each call of the verifier, and of each call for the teacher's rollouts."""
    told = [Told(trainer.scorer, rewards), Told(trainer.scorer, teacher)]
    trainer.scorer = told[0]
    if trainer.teacher is not None:
        trainer.teacher.scorer = told[1]
    record = trainer.step(t)
    assert all(scorer.is_done() for scorer in told)
    return record


def gradients(trainer: Trainer, *rewards: list[list[float]], **others: Any) -> tuple[dict, dict[str, Tensor]]:
    """The metrics and the gradients of such a step. The weights stay as they are."""
    with caught(trainer) as gradients, patch.object(trainer.learner.optimizer, "step"):
        record = step(trainer, *rewards, **others)
    return record, gradients


def tokens(record: dict[str, Any]) -> tuple[int, ...]:
    """Generated without a hint and with one, passed forward, passed backward."""
    return tuple(record["tokens"][name] for name in ("rollout", "privileged", "forward", "backward"))


def logits(model: LanguageModel, sequences: Sequences) -> list[Tensor]:
    """[T, V] for each sequence, each from a pass of its own."""
    return [completion_logits(model, sequences.select([i])) for i in range(len(sequences))]


def logp(model: LanguageModel, sequences: Sequences) -> list[Tensor]:
    """log π of the tokens of each sequence, [T] each."""
    return [
        torch.distributions.Categorical(logits=found).log_prob(completion)
        for found, completion in zip(logits(model, sequences), sequences.completions, strict=True)
    ]


def reinforce(trainer: Trainer, sequences: Sequences, advantages: list[Any]) -> Tensor:
    """−Σ A log π over the tokens, an A for each sequence or for each token of it. On the first update it is GRPO."""
    terms = zip(advantages, logp(trainer.policy, sequences), strict=True)
    return -sum((advantage * of_tokens).sum() for advantage, of_tokens in terms)


def reference(trainer: Trainer, problem: Problem) -> Sequences:
    """y* and the end token as the response to x."""
    prompt, response = encode(trainer.tokenizer, [problem.question, problem.hint + " <eos>"])
    return Sequences([prompt], [response])


def with_hint(trainer: Trainer, problem: Problem, sequences: Sequences) -> Sequences:
    """The same completions as answers to x ⊕ y*."""
    (prompt,) = encode(trainer.tokenizer, [trainer.task.privileged_prompt(problem)])
    return Sequences([prompt] * len(sequences), sequences.completions)


def assert_gradients(trainer: Trainer, found: dict[str, Tensor], loss: Tensor) -> None:
    """The gradients are those of `loss` by autograd, and they are not nothing."""
    names, weights = zip(*trainer.policy.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name in expected:  # float32 sums differ between processors by some units of the largest gradient's last place
        assert torch.allclose(found[name], expected[name], rtol=1e-3, atol=max(1e-6, 1e-5 * largest)), name


def assert_same_bits(
    make_trainer: Callable[..., Trainer],
    one: str,
    other: str,
    *rewards: list[list[float]],
    steps: tuple[int, ...] = (0, 1),
    teacher: tuple = (),
    **changes: Any,
) -> None:
    """Two runs take the same steps, two updates each: weights and what both log are equal bit for bit."""
    trainers = [trainer(make_trainer, run, **FAST | changes) for run in (one, other)]
    for t in steps:
        records = [timeless(step(run, *rewards, teacher=teacher, t=t)) for run in trainers]
        same = records[0].keys() & records[1].keys() - {"tokens"}
        assert [records[0][key] for key in same] == [records[1][key] for key in same]
        assert records[0]["grad_norm"] > 0 and records[0]["ratio_max"] > 1.2
    for a, b in zip(*(run.policy.parameters() for run in trainers), strict=True):
        assert torch.equal(a, b)


def refusal(capsys: Any, run: str) -> str:
    """What `hdpo train` says of a run that it refuses: one line, with exit code 2."""
    assert main(["train", "study.yaml", "--run", run, "--seed", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line
