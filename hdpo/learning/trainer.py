"""What a training step can call: prompts, rollouts, rewards, demonstrations, and updates of the weights.

`Trainer` holds the state of one run. A step of training is `Method.step`, in the method's file.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdpo.learning.learner import Learner, Update
from hdpo.learning.metrics import StepLog
from hdpo.learning.optimizer import learning_rate
from hdpo.learning.teacher import NO_DEMONSTRATIONS, Demonstrations, load_teacher
from hdpo.model.language_model import LanguageModel
from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.tokenizer import encode
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.sampling.sampler import Rollouts
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.system.rng import draw_prompts, generator
from hdpo.tasks import Problem
from hdpo.tasks.scoring import Scorer


class Trainer:
    """One run: policy, teacher, task and optimiser, and the step that the run's method takes with them."""

    def __init__(self, run: Run) -> None:
        """Load model and data.

        Raises:
            UserError: one of them cannot be loaded here.
        """
        study = run.study
        require_backend(study)
        self.run, self.method, self.settings = run, run.method, study.train
        self.task = study.task.load(study)
        self.problems = self.task.problems("train")
        self.tokenizer = load_tokenizer(study.base_path, study.model.revision)
        self.scorer = Scorer(self.task, self.tokenizer)
        self.policy = self._load(is_trained=True)
        self.sampler = load_sampler(study, self.policy, study.base_path, self.tokenizer.eos_token_id)
        self.teacher = load_teacher(run, self.policy, partial(self._load, is_trained=False), self.scorer)
        shares = not study.train.gradient_checkpointing and study.model.attention != "flash_attention_2"
        self.learner = Learner(self.policy, study.train, shares, self.teacher)
        self.t = 0  # the step in hand, from 0
        self.log = StepLog()

    def step(self, t: int) -> dict[str, Any]:
        """Step `t` of the run's method; returns its metrics. Steps count from 0."""
        self.t, self.log = t, StepLog()
        self.method.step(self)
        return self.log.record(t)

    def draw(self) -> list[Problem]:
        """The training problems of this step, [P]: the same for every method of a seed. A further call gives others."""
        count, total = self.settings.prompts_per_step, len(self.problems)
        chosen = draw_prompts(self.run.seed, self.t, count, total, self.log.draws)
        self.log.draws += 1
        return [self.problems[i] for i in chosen]

    def sample(self, problems: Sequence[Problem]) -> Rollouts:
        """G rollouts y ~ π_θ(· | x) of each problem, [P·G] in problem-major order."""
        with self.log.time("rollout"):
            prompts = encode(self.tokenizer, [self.task.student_prompt(problem) for problem in problems])
            random = self._random("rollout", len(self.log.rollouts), self.policy.device)
            rollouts = self.sampler.sample(
                prompts, self.settings.rollouts_per_prompt, self.settings.temperature, random
            )
        self.log.rollouts.append(rollouts)
        return rollouts

    def score(self, problems: Sequence[Problem], rollouts: Rollouts) -> Tensor:
        """R(x, y) in {0, 1} of each rollout, [P, G]."""
        with self.log.time("reward"):
            judged = self.scorer.judge(problems, rollouts.sequences.completions)
        self.log.judged.append(judged)
        return judged.rewards

    def demonstrate(self, problems: Sequence[Problem], tries: int) -> Demonstrations:
        """Correct privileged rollouts of the problems, from `tries` for each; none if the method has no teacher."""
        if self.teacher is None:
            return NO_DEMONSTRATIONS
        with self.log.time("privileged"):
            random = self._random("privileged", len(self.log.demonstrations), self.teacher.device)
            demonstrations = self.teacher.demonstrate(list(problems), tries, random)
        self.log.demonstrations.append(demonstrations)
        return demonstrations

    def updates(self) -> Iterator[Update]:
        """`train.updates_per_batch` optimiser steps on this step's batch; the loop body adds the terms of the loss.

        Raises:
            NotFinite: a loss or gradient is NaN or infinite, before it changes the weights; or a changed weight is.
        """
        self.sampler.sleep()  # the weights that it holds are about to change
        with self.log.time("update"):
            yield from self.learner.updates(learning_rate(self.settings.optimizer, self.t), self.log.updated)

    def _random(self, purpose: str, draws: int, device: torch.device) -> torch.Generator:
        """Random numbers of this step; each further draw of a purpose has its own."""
        return generator(self.run.seed, f"{purpose} {draws}" if draws else purpose, self.t, device)

    def _load(self, is_trained: bool) -> LanguageModel:
        study = self.run.study
        recomputes = is_trained and study.train.gradient_checkpointing
        config = study.model
        model = load_policy(
            study.base_path, config.dtype, config.attention, recomputes, config.revision, config.implementation
        )
        if ranks.size() > 1 and study.hardware.sharding == "shard":
            ranks.shard(model, is_trained)
        return model
