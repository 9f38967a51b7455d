"""HDPO's training step, the paper's Algorithm 1."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hdpo.backend import load_sampler, require_backend
from hdpo.config import Run
from hdpo.distill import top_k_jsd
from hdpo.evaluate import Scorer
from hdpo.finite import NotFinite, require_finite
from hdpo.grpo import cliff_mask, clipped_surrogate, group_advantages
from hdpo.metrics import Clock, RatioStatistics, step_record
from hdpo.policy import Sequences, completion_logits, encode, load_policy, load_tokenizer, token_logp
from hdpo.rng import draw_prompts, generator
from hdpo.sampler import Rollouts
from hdpo.schema import Optimizer
from hdpo.tasks import Problem, load_task


@dataclass(frozen=True)
class Demonstrations:
    """The paper's set T: correct privileged rollouts, under the student's prompt x and the teacher's x ⊕ y*."""

    student: Sequences
    teacher: Sequences  # the same completions, token for token
    drawn: int  # privileged rollouts before the R = 1 filter
    drawn_tokens: int

    def __len__(self) -> int:
        return len(self.student)


NO_DEMONSTRATIONS = Demonstrations(Sequences([], []), Sequences([], []), 0, 0)


def learning_rate(config: Optimizer, step: int) -> float:
    """Linear warm-up from `warmup_start` × to 1 × over `warmup_steps`, then constant (paper Table 2)."""
    done = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    return config.learning_rate * (config.warmup_start + (1 - config.warmup_start) * done)


class Trainer:
    """One run: policy, teacher, optimiser and the step that updates them."""

    def __init__(self, run: Run) -> None:
        study = run.study
        require_backend(study)
        self.run, self.train, self.distill = run, study.train, study.distill
        self.task = load_task(study)
        self.problems = self.task.problems("train")
        self.tokenizer = load_tokenizer(study.base_path)
        self.scorer = Scorer(self.task, self.tokenizer)
        self.policy = load_policy(study.base_path, study.model.dtype)
        eos = self.tokenizer.eos_token_id
        self.sampler = load_sampler(study, self.policy, study.base_path, eos)
        self.teacher = None
        if run.distill_weight > 0:  # λ = 0 is GRPO: no teacher is even loaded
            frozen = run.teacher == "frozen"
            self.teacher = load_policy(study.base_path, study.model.dtype) if frozen else self.policy
            self.teacher_sampler = load_sampler(study, self.teacher, study.base_path, eos)
        optimizer = study.train.optimizer
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )
        for parameter in self.policy.parameters():  # so that a step without signal is still an AdamW step
            parameter.grad = torch.zeros_like(parameter)

    def step(self, step: int) -> dict[str, Any]:
        """One step of Algorithm 1; returns its metrics. Steps count from 0."""
        clock = Clock()
        seed, temperature = self.run.seed, self.train.temperature
        chosen = draw_prompts(seed, step, self.train.prompts_per_step, len(self.problems))
        problems = [self.problems[i] for i in chosen]  # x ~ D, [P]
        with clock("rollout"):  # y_1..y_G ~ π_θ(· | x)
            prompts = encode(self.tokenizer, [self.task.student_prompt(problem) for problem in problems])
            random = generator(seed, "rollout", step, self.policy.device)
            rollouts = self.sampler.sample(prompts, self.train.rollouts_per_prompt, temperature, random)
        with clock("reward"):
            rewards = self.scorer.score(problems, rollouts.sequences.completions)  # R(x, y), [P, G]
        is_cliff = cliff_mask(rewards)  # C, [P]
        with clock("privileged"):
            cliffs = [problems[i] for i in torch.nonzero(is_cliff).flatten().tolist()]
            demonstrations = self.teach(cliffs, step) if self.teacher is not None else NO_DEMONSTRATIONS  # T
        with clock("update"):
            advantages = group_advantages(rewards, self.train.baseline, self.train.normalize_advantages)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.train.optimizer, step)
            updated = self.update(rollouts, advantages.flatten(), demonstrations)
        return step_record(step, rewards, rollouts, demonstrations, updated, clock)

    def teach(self, cliffs: list[Problem], step: int) -> Demonstrations:
        """Privileged rollouts ȳ ~ π_T(· | x ⊕ y*) on cliff prompts, those with R = 1 kept (section 3.2)."""
        cliffs = cliffs[: self.distill.max_cliffs]
        if not cliffs:
            return NO_DEMONSTRATIONS
        group = self.distill.privileged_rollouts
        prompts = encode(self.tokenizer, [self.task.privileged_prompt(problem) for problem in cliffs])
        random = generator(self.run.seed, "privileged", step, self.teacher.device)
        privileged = self.teacher_sampler.sample(prompts, group, self.train.temperature, random).sequences
        rewards = self.scorer.score(cliffs, privileged.completions)  # [cliffs, group]
        kept = torch.nonzero(rewards.flatten() >= 1).flatten().tolist()  # R = 1
        teacher = privileged.select(kept)
        plain = encode(self.tokenizer, [self.task.student_prompt(problem) for problem in cliffs])
        student = Sequences([plain[i // group] for i in kept], teacher.completions)
        return Demonstrations(student, teacher, len(privileged), int(privileged.lengths.sum()))

    def update(self, rollouts: Rollouts, advantages: Tensor, demonstrations: Demonstrations) -> dict[str, Any]:
        """Optimiser steps on L = L_GRPO + λ · L_JSD; advantages are per sequence, [N].

        Both losses are sums over tokens divided by the token count of the whole step, taken before any forward
        pass, so micro-batches change memory only. Sequences with advantage 0 add exactly nothing to the gradient
        and are not run through the network, but their tokens count.

        Raises:
            NotFinite: a loss or gradient is NaN or infinite, before it changes the weights; or a changed weight is.
        """
        self.sampler.sleep()  # the weights that it holds are about to change
        n_tokens = max(1, len(rollouts.logp))
        n_distill_tokens = max(1, int(demonstrations.student.lengths.sum()))
        old_logp = torch.empty(n_tokens)  # log π_old of every token, written by the first update
        for update in range(self.train.updates_per_batch):
            self.optimizer.zero_grad(set_to_none=False)
            ratio = RatioStatistics()
            policy_loss = self._backward_policy(rollouts, advantages, update == 0, old_logp, n_tokens, ratio)
            norms = {}
            if self.train.log_gradient_norms:
                policy_gradient = [parameter.grad.clone() for parameter in self.policy.parameters()]
                norms["grad_norm_policy"] = _norm(policy_gradient)
            jsd = self._backward_distill(demonstrations, n_distill_tokens)
            if self.train.log_gradient_norms:
                pairs = zip(self.policy.parameters(), policy_gradient, strict=True)
                norms["grad_norm_distill"] = _norm([parameter.grad - before for parameter, before in pairs])
            norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.train.optimizer.max_grad_norm)
            loss = policy_loss + self.run.distill_weight * jsd
            if not (torch.isfinite(norm) and torch.isfinite(torch.tensor(loss))):
                raise NotFinite(
                    f"loss {loss} or gradient norm {float(norm)} is not finite (policy loss {policy_loss}, JSD {jsd})"
                )
            self.optimizer.step()
        require_finite("norm of the updated weights", torch.nn.utils.get_total_norm(self.policy.parameters()))
        losses = {"policy_loss": policy_loss, "distill_loss": jsd, "loss": loss, "grad_norm": float(norm)}
        return losses | norms | ratio.metrics() | {"learning_rate": self.optimizer.param_groups[0]["lr"]}

    def _backward_policy(
        self,
        rollouts: Rollouts,
        advantages: Tensor,
        is_first: bool,
        old_logp: Tensor,
        n_tokens: int,
        ratio: RatioStatistics,
    ) -> float:
        """Accumulate the gradient of L_GRPO; on the first update the policy's own log-probs become π_old's."""
        total, sequences = 0.0, rollouts.sequences
        rows = torch.nonzero((advantages != 0) & (sequences.lengths > 0)).flatten().tolist()
        equal = sequences.distinct(rows)  # equal rollouts have equal log-probs: one goes through the network for all
        for group in sequences.micro_batches(list(equal), self.train.micro_batch_tokens, share_prompts=True):
            batch = sequences.select(group)
            logits = completion_logits(self.policy, batch, share_prompts=True) / self.train.temperature
            places = _places(batch, [len(equal[row]) for row in group])
            logp = token_logp(logits, batch.tokens)[places]  # [M]
            group = [copy for row in group for copy in equal[row]]
            index, lengths = sequences.token_index(group), sequences.lengths[group]
            if is_first:
                old_logp[index] = logp.detach().cpu()
            old = old_logp[index].to(logp.device)
            token_advantages = advantages[group].repeat_interleave(lengths).to(logp.device)
            loss = clipped_surrogate(logp, old, token_advantages, self.train.clip) / n_tokens
            loss.backward()
            total += float(loss.detach())
            ratio.add(logp.detach(), old, rollouts.logp[index].to(logp.device), self.train.clip)
        return total

    def _backward_distill(self, demonstrations: Demonstrations, n_tokens: int) -> float:
        """Accumulate the gradient of λ · L_JSD and return L_JSD, in nats per token."""
        total, equal = 0.0, demonstrations.teacher.distinct(list(range(len(demonstrations))))
        for group in demonstrations.teacher.micro_batches(
            list(equal), self.train.micro_batch_tokens, share_prompts=True
        ):
            teacher, student = demonstrations.teacher.select(group), demonstrations.student.select(group)
            with torch.no_grad():
                teacher_logits = completion_logits(self.teacher, teacher, share_prompts=True)
            student_logits = completion_logits(self.policy, student, share_prompts=True)
            divergences = top_k_jsd(teacher_logits, student_logits, self.distill.top_k, self.distill.tail)  # [M]
            places = _places(student, [len(equal[row]) for row in group])
            jsd = divergences[places].sum() / n_tokens
            (self.run.distill_weight * jsd).backward()
            total += float(jsd.detach())
        return total


def _places(batch: Sequences, copies: list[int]) -> Tensor:
    """Where the tokens of each sequence stand in `batch`, as often over as it has copies."""
    return batch.token_index([place for place, count in enumerate(copies) for _ in range(count)])


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors))
