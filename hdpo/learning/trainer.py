"""What a training step can call: prompts, rollouts, rewards, demonstrations, and updates of the weights.

`Trainer` holds the state of one run. A step of training is `Method.step`, in the method's file.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdpo.learning.learner import Learner
from hdpo.learning.metrics import StepLog
from hdpo.learning.optimizer import learning_rate
from hdpo.learning.teacher import NO_DEMONSTRATIONS, Demonstrations, Pairs, load_teacher
from hdpo.learning.update import Update
from hdpo.model.language_model import LanguageModel
from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.sampling.sampler import Rollouts
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.system.errors import UserError
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
        if self.method.uses_hints and (bare := sum(not problem.hint for problem in self.problems)):
            raise UserError(f"method {self.method.name}: needs hints, and {bare} training problems have none")
        self.tokenizer = load_tokenizer(study.base_path, study.model.revision)
        self.scorer = Scorer(self.task, self.tokenizer)
        self.policy = self._load(is_trained=True)
        self.sampler = load_sampler(study, self.policy, study.base_path, self.tokenizer.eos_token_id)
        self.teacher = load_teacher(run, self.policy, partial(self._load, is_trained=False), self.scorer)
        shares = not study.train.gradient_checkpointing and study.model.attention != "flash_attention_2"
        self.learner = Learner(self.policy, study.train, shares, self.teacher)
        self.t = 0  # the step in hand, from 0
        self.memory: dict[str, Any] = {}  # what the method keeps between steps, as JSON has it; checkpoints hold it
        self.log = StepLog()

    def step(self, t: int) -> dict[str, Any]:
        """Step `t` of the run's method; returns its metrics. Steps count from 0."""
        self.t, self.log = t, StepLog()
        self.method.step(self)
        if self.teacher is not None:
            self.teacher.follow(self.policy)
        return self.log.record(t)

    def draw(self) -> list[Problem]:
        """The training problems of this step, [P]: the same for every method of a seed. A further call gives others."""
        count, total = self.settings.prompts_per_step, len(self.problems)
        chosen = draw_prompts(self.run.seed, self.t, count, total, self.log.draws)
        self.log.draws += 1
        return [self.problems[i] for i in chosen]

    def sample(self, problems: Sequence[Problem], count: int | None = None, hinted: bool = False) -> Rollouts:
        """Rollouts y ~ π_θ(· | x) of each problem in problem-major order: `count`, or G where it is None.

        With `hinted` the policy sees the hint: y ~ π_θ(· | x ⊕ y*).
        """
        purpose, drawn = ("hinted", self.log.hinted) if hinted else ("rollout", self.log.rollouts)
        group = self.settings.rollouts_per_prompt if count is None else count
        with self.log.time("privileged" if hinted else "rollout"):
            random = self._random(purpose, len(drawn), self.policy.device)
            rollouts = self.sampler.sample(self._prompts(problems, hinted), group, self.settings.temperature, random)
        drawn.append(rollouts)
        return rollouts

    def score(self, problems: Sequence[Problem], rollouts: Rollouts) -> Tensor:
        """R(x, y) in {0, 1} of each rollout, [P, G]."""
        with self.log.time("reward"):
            judged = self.scorer.judge(problems, rollouts.sequences.completions)
        self.log.judged.append(judged)
        return judged.rewards

    def demonstrate(
        self, problems: Sequence[Problem], tries: int, shown: list[str] | None = None, filtered: bool = True
    ) -> Demonstrations:
        """Correct privileged rollouts of the problems, from `tries` for each; none if the method has no teacher.

        Args:
            shown: what the teacher sees of each problem; None: x ⊕ y*.
            filtered: False keeps rollouts that fail as well.
        """
        if self.teacher is None:
            return NO_DEMONSTRATIONS
        with self.log.time("privileged"):
            random = self._random("privileged", len(self.log.demonstrations), self.teacher.device)
            demonstrations = self.teacher.demonstrate(list(problems), tries, random, shown, filtered)
        self.log.demonstrations.append(demonstrations)
        return demonstrations

    def references(self, problems: Sequence[Problem]) -> Sequences:
        """y* and the end token as the response to x, cut to the longest response: what imitation copies."""
        end = torch.tensor([self.tokenizer.eos_token_id])
        whole = [torch.cat([text, end]) for text in encode(self.tokenizer, [problem.hint for problem in problems])]
        return Sequences(self._prompts(problems), [text[: self.settings.max_response_tokens] for text in whole])

    def hinted(self, problems: Sequence[Problem], plain: Sequences) -> Pairs:
        """The completions of `plain`, n for each problem, under the student's prompts and under the teacher's."""
        tries = len(plain) // max(1, len(problems))
        prompts = [prompt for prompt in self._prompts(problems, hinted=True) for _ in range(tries)]
        return Pairs(plain, Sequences(prompts, plain.completions))

    def updates(self) -> Iterator[Update]:
        """`train.updates_per_batch` optimiser steps on this step's batch; the loop body adds the terms of the loss.

        Raises:
            NotFinite: a loss or gradient is NaN or infinite, before it changes the weights; or a changed weight is.
        """
        self.sampler.sleep()  # the weights that it holds are about to change
        with self.log.time("update"):
            yield from self.learner.updates(learning_rate(self.settings.optimizer, self.t), self.log.updated)

    def _prompts(self, problems: Sequence[Problem], hinted: bool = False) -> list[Tensor]:
        ask = self.task.privileged_prompt if hinted else self.task.student_prompt
        return encode(self.tokenizer, [ask(problem) for problem in problems])

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
