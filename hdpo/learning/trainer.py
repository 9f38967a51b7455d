"""HDPO's training step, the paper's Algorithm 1."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdpo.learning.adamw import AdamW
from hdpo.learning.jsd import jsd_k, teacher_top_k
from hdpo.learning.masters import master_weights, round_into
from hdpo.learning.metrics import Clock, RatioStatistics, step_record
from hdpo.learning.policy_gradient import cliff_mask, clipped_surrogate, group_advantages, truncated_importance
from hdpo.model.forward import completion_hidden, per_token, token_logp
from hdpo.model.language_model import LanguageModel
from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.run.evaluate import Scorer
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.sampling.sampler import Rollouts
from hdpo.study.schema import Optimizer
from hdpo.study.study import Run
from hdpo.system import ranks
from hdpo.system.finite import NotFinite, require_finite
from hdpo.system.rng import draw_prompts, generator
from hdpo.tasks import Problem, load_task


@dataclass(frozen=True)
class Demonstrations:
    """The paper's set T: correct privileged rollouts, under the student's prompt x and the teacher's x ⊕ y*."""

    student: Sequences
    teacher: Sequences  # the same completions, token for token
    drawn: int  # privileged rollouts before the R = 1 filter
    drawn_tokens: int
    verdicts: Counter[str] = field(default_factory=Counter)  # of those drawn, as in `Judged`
    echoes: int = 0  # demonstrations that only repeat y*, which R = 1 cannot see; counted where verdicts are

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
        self.tokenizer = load_tokenizer(study.base_path, study.model.revision)
        self.scorer = Scorer(self.task, self.tokenizer)
        model, train, eos = study.model, study.train, self.tokenizer.eos_token_id
        self.policy = self._load(is_trained=True)
        self.share_prompts = not train.gradient_checkpointing and model.attention != "flash_attention_2"
        self.sampler = load_sampler(study, self.policy, study.base_path, eos)
        self.teacher = None
        if run.distill_weight > 0:  # λ = 0 is GRPO: no teacher is even loaded
            frozen = run.teacher == "frozen"
            self.teacher = self._load(is_trained=False) if frozen else self.policy
            self.offloads = self.distill.offload_teacher and frozen and not ranks.is_sharded(self.teacher)
            if self.offloads:
                self.teacher.to("cpu")
            self.teacher_sampler = load_sampler(study, self.teacher, study.base_path, eos)
        self.weights = master_weights(self.policy)  # so that a step without signal is still an AdamW step
        optimizer = train.optimizer
        self.optimizer = AdamW(
            self.weights.values(),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )

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
            judged = self.scorer.judge(problems, rollouts.sequences.completions)
        rewards = judged.rewards  # R(x, y), [P, G]
        is_cliff = cliff_mask(rewards)  # C, [P]
        with clock("privileged"):
            cliffs = [problems[i] for i in torch.nonzero(is_cliff).flatten().tolist()]
            demonstrations = self.teach(cliffs, step) if self.teacher is not None else NO_DEMONSTRATIONS  # T
        with clock("update"):
            advantages = group_advantages(rewards, self.train.baseline, self.train.normalize_advantages)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.train.optimizer, step)
            updated = self.update(rollouts, advantages.flatten(), demonstrations)
        return step_record(step, judged, rollouts, demonstrations, updated, clock)

    def teach(self, cliffs: list[Problem], step: int) -> Demonstrations:
        """Privileged rollouts ȳ ~ π_T(· | x ⊕ y*) on cliff prompts, those with R = 1 kept (section 3.2)."""
        cliffs = cliffs[: self.distill.max_cliffs]
        if not cliffs:
            return NO_DEMONSTRATIONS
        group = self.distill.privileged_rollouts
        prompts = encode(self.tokenizer, [self.task.privileged_prompt(problem) for problem in cliffs])
        with self._teacher_at_hand():
            random = generator(self.run.seed, "privileged", step, self.teacher.device)
            privileged = self.teacher_sampler.sample(prompts, group, self.train.temperature, random).sequences
        judged = self.scorer.judge(cliffs, privileged.completions)  # [cliffs, group]
        kept = torch.nonzero(judged.rewards.flatten() >= 1).flatten().tolist()  # R = 1
        teacher = privileged.select(kept)
        plain = encode(self.tokenizer, [self.task.student_prompt(problem) for problem in cliffs])
        student = Sequences([plain[i // group] for i in kept], teacher.completions)
        echoes = sum(self.task.is_echo(cliffs[i // group], judged.texts[i]) for i in kept) if judged.verdicts else 0
        tokens = int(privileged.lengths.sum())
        return Demonstrations(student, teacher, len(privileged), tokens, judged.verdicts, echoes)

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
                policy_gradient = [weight.grad.clone() for weight in self.weights.values()]
                ranks.sum_gradients(policy_gradient)
                norms["grad_norm_policy"] = _norm(policy_gradient)
            jsd = self._backward_distill(demonstrations, n_distill_tokens)
            ranks.sum_gradients(weight.grad for weight in self.weights.values())
            if self.train.log_gradient_norms:
                pairs = zip(self.weights.values(), policy_gradient, strict=True)
                norms["grad_norm_distill"] = _norm([weight.grad - before for weight, before in pairs])
            norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), self.train.optimizer.max_grad_norm)
            norm = ranks.whole(norm)
            policy_loss, jsd = (sum(parts) for parts in zip(*ranks.gather((policy_loss, jsd)), strict=True))
            loss = policy_loss + self.run.distill_weight * jsd
            if not (torch.isfinite(norm) and torch.isfinite(torch.tensor(loss))):
                raise NotFinite(
                    f"loss {loss} or gradient norm {float(norm)} is not finite (policy loss {policy_loss}, JSD {jsd})"
                )
            self.optimizer.step()
            round_into(self.policy, self.weights)
        norm_of_weights = torch.nn.utils.get_total_norm(self.weights.values())
        require_finite("norm of the updated weights", ranks.whole(norm_of_weights))
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
        equal = sequences.copies(rows)  # equal rollouts have equal log-probs: one goes through the network for all
        for copies in self._micro_batches(sequences, equal, self.share_prompts):
            batch = sequences.select(list(copies))
            hidden = completion_hidden(self.policy, batch, self.share_prompts)  # [M, D]
            places = _places(batch, [len(rows) for rows in copies.values()])
            logp = per_token(self.policy, self._logp, hidden, batch.tokens)[places]  # [M]
            group = [row for rows in copies.values() for row in rows]
            index, lengths = sequences.token_index(group), sequences.lengths[group]
            if is_first:
                old_logp[index] = logp.detach().cpu()
            old = old_logp[index].to(logp.device)
            sampler_logp = rollouts.logp[index].to(logp.device)
            token_advantages = advantages[group].repeat_interleave(lengths).to(logp.device)
            if self.train.importance_cap is not None:
                token_advantages = token_advantages * truncated_importance(old, sampler_logp, self.train.importance_cap)
            loss = clipped_surrogate(logp, old, token_advantages, self.train.clip) / n_tokens
            loss.backward()
            total += float(loss.detach())
            ratio.add(logp.detach(), old, sampler_logp, self.train.clip)
        return total

    def _backward_distill(self, demonstrations: Demonstrations, n_tokens: int) -> float:
        """Accumulate the gradient of λ · L_JSD and return L_JSD, in nats per token.

        Few demonstrations have their prompt in common, so each is read whole: half as many kernels as with shared
        prompts.
        """
        equal = demonstrations.teacher.copies(list(range(len(demonstrations))))
        groups = list(self._micro_batches(demonstrations.teacher, equal))
        targets = self._targets([demonstrations.teacher.select(list(copies)) for copies in groups])
        total = 0.0
        for copies, target in zip(groups, targets, strict=True):
            student = demonstrations.student.select(list(copies))
            hidden = completion_hidden(self.policy, student)
            divergences = per_token(self.policy, partial(jsd_k, tail=self.distill.tail), hidden, *target)  # [M]
            places = _places(student, [len(rows) for rows in copies.values()])
            loss = divergences[places].sum() / n_tokens
            (self.run.distill_weight * loss).backward()
            total += float(loss.detach())
        return total

    def _micro_batches(
        self, sequences: Sequences, equal: dict[int, list[int]], share_prompts: bool = False
    ) -> Iterator[dict[int, list[int]]]:
        """This rank's share of the `distinct` rows in micro-batches: each row with its copies.

        Passes through sharded weights are made by all ranks together: a rank with fewer micro-batches ends with some
        of one row without a copy, which add exactly nothing.
        """
        shares, most = [ranks.share(list(equal), rank) for rank in range(ranks.size())], self.train.micro_batch_tokens
        parts = [list(sequences.micro_batches(share, most, share_prompts)) for share in shares]
        mine = parts[ranks.rank()]
        for group in mine:
            yield {row: equal[row] for row in group}
        if ranks.is_sharded(self.policy):
            for _ in range(max(map(len, parts)) - len(mine)):
                yield {next(iter(equal)): []}

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

    @torch.no_grad()
    def _targets(self, batches: list[Sequences]) -> list[tuple[Tensor, Tensor]]:
        """The teacher's top k at each completion token of each batch: log-probs and tokens, [M, K] each."""
        if not batches:
            return []
        top_k = partial(teacher_top_k, k=self.distill.top_k)
        with self._teacher_at_hand():
            hidden = (completion_hidden(self.teacher, batch) for batch in batches)
            return [per_token(self.teacher, top_k, states) for states in hidden]

    def _logp(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """log π_θ(token) at the sampling temperature, [M]."""
        return token_logp(logits / self.train.temperature, tokens)

    @contextmanager
    def _teacher_at_hand(self) -> Iterator[None]:
        """Inside, the teacher is where the policy is; outside, a frozen one that is offloaded waits in CPU memory."""
        if self.offloads:
            self.teacher.to(self.policy.device)
        yield
        if self.offloads:
            self.teacher.to("cpu")


def _places(batch: Sequences, copies: list[int]) -> Tensor:
    """Where the tokens of each sequence stand in `batch`, as often over as it has copies."""
    return batch.token_index([place for place, count in enumerate(copies) for _ in range(count)])


def _norm(tensors: list[Tensor]) -> float:
    return float(ranks.whole(torch.nn.utils.get_total_norm(tensors)))
