"""The learner: turns terms of a loss into one optimiser step, whatever the number of processes and micro-batches.

A method opens a step and adds terms to it:

    for learn in learner.updates(rate, report):
        learn.policy(surrogate, rollouts, advantages)
        learn.distill(divergence, demonstrations, top_k, weight=λ)

Each term is a sum over tokens divided by the term's token count in the whole step, which is known before any forward
pass. So micro-batches change memory and rounding, and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hdpo.learning.masters import master_weights, round_into
from hdpo.learning.metrics import RatioStatistics
from hdpo.learning.optimizer import AdamW
from hdpo.learning.teacher import Demonstrations, Teacher
from hdpo.model.forward import completion_hidden, per_token, token_logp
from hdpo.model.language_model import LanguageModel
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Rollouts
from hdpo.study.schema import Train
from hdpo.system import ranks
from hdpo.system.finite import NotFinite, require_finite

PolicyLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of log-probs, old ones, the sampler's, advantages
OldLogp = dict[int, tuple[Rollouts, Tensor]]  # rollouts and log π_old of their tokens, by identity
Divergence = Callable[[Tensor, Tensor, Tensor], Tensor]  # of student logits, the teacher's log-probs and tokens


class Learner:
    """The policy's weights with their optimiser."""

    def __init__(
        self, policy: LanguageModel, settings: Train, share_prompts: bool, teacher: Teacher | None = None
    ) -> None:
        """`share_prompts`: read each prompt once for all of its rollouts (see `completion_hidden`)."""
        self.policy, self.settings, self.share_prompts, self.teacher = policy, settings, share_prompts, teacher
        self.weights = master_weights(policy)  # with gradients of zero: a step without signal is still an AdamW step
        optimizer = settings.optimizer
        self.optimizer = AdamW(
            self.weights.values(),
            lr=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            fused=True,
        )

    def updates(self, rate: float, report: dict[str, Any]) -> Iterator["Update"]:
        """`updates_per_batch` optimiser steps at learning rate `rate`, each taken when its loop body ends.

        `report` receives the losses, norms and ratios of the last one.

        Raises:
            NotFinite: a loss or gradient is NaN or infinite, before it changes the weights; or a changed weight is.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        old_logp: OldLogp = {}
        for number in range(self.settings.updates_per_batch):
            self.optimizer.zero_grad(set_to_none=False)
            update = Update(self, old_logp, is_first=number == 0)
            yield update
            report |= self._finish(update)
        norm_of_weights = torch.nn.utils.get_total_norm(self.weights.values())
        require_finite("norm of the updated weights", ranks.whole(norm_of_weights))
        report["learning_rate"] = rate

    def _finish(self, update: "Update") -> dict[str, Any]:
        ranks.sum_gradients(self.gradients())
        norms = update.gradient_norms()
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), self.settings.optimizer.max_grad_norm)
        norm = ranks.whole(norm)
        shares = ranks.gather([term.value for term in update.terms])
        values = [sum(parts) for parts in zip(*shares, strict=True)]
        losses = {f"{term.name}_loss": value for term, value in zip(update.terms, values, strict=True)}
        loss = sum(term.weight * value for term, value in zip(update.terms, values, strict=True))
        if not (torch.isfinite(norm) and torch.isfinite(torch.tensor(loss))):
            parts = ", ".join(f"{name} {value}" for name, value in losses.items())
            raise NotFinite(f"loss {loss} or gradient norm {float(norm)} is not finite ({parts})")
        self.optimizer.step()
        round_into(self.policy, self.weights)
        return losses | {"loss": loss, "grad_norm": float(norm)} | norms | update.ratio.metrics()

    def gradients(self) -> list[Tensor]:
        """The gradient of every weight."""
        return [weight.grad for weight in self.weights.values() if weight.grad is not None]

    def micro_batches(
        self, sequences: Sequences, rows: list[int], counts: list[int], share_prompts: bool = False
    ) -> Iterator[tuple[list[int], list[int]]]:
        """This rank's share of `rows` in micro-batches, each row with its count.

        With sharded weights every rank must make the same number of forward passes. A rank with fewer micro-batches
        ends with some of one row that counts 0 times, which add exactly nothing.
        """
        count = dict(zip(rows, counts, strict=True))
        shares, most = [ranks.share(rows, rank) for rank in range(ranks.size())], self.settings.micro_batch_tokens
        parts = [list(sequences.micro_batches(list(share), most, share_prompts)) for share in shares]
        mine = parts[ranks.rank()]
        for group in mine:
            yield group, [count[row] for row in group]
        if ranks.is_sharded(self.policy):
            for _ in range(max(map(len, parts)) - len(mine)):
                yield rows[:1], [0]


@dataclass
class Term:
    """One term of the loss: its value on this rank, and the gradient before it was added, if norms are logged."""

    name: str
    weight: float
    value: float = 0.0
    before: list[Tensor] | None = None


class Update:
    """One optimiser step in the making: every call adds the gradient of one term of the loss."""

    def __init__(self, learner: Learner, old_logp: OldLogp, is_first: bool) -> None:
        """The first update of a batch writes log π_old, and the later ones read it."""
        self.learner, self.old_logp, self.is_first = learner, old_logp, is_first
        self.terms: list[Term] = []
        self.ratio = RatioStatistics()

    def policy(
        self,
        loss: PolicyLoss,
        rollouts: Rollouts,
        advantages: Tensor,
        clip: float | None = None,
        all_rollouts: bool = False,
        name: str = "policy",
    ) -> None:
        """Add a policy loss: loss(logp, old_logp, sampler_logp, advantages) of each token, all [M].

        Log-probs are at the sampling temperature. Equal rollouts with equal advantages share their loss, so one goes
        through the network and counts for all.

        Args:
            advantages: of each rollout, [P, G].
            clip: log the share of tokens whose ratio π_θ/π_old is further than this from 1; the loss does not see it.
            all_rollouts: False skips rollouts with advantage 0. Their tokens count, but they do not go through the
                network: a loss in proportion to the advantage gets exactly nothing from them. Say True for any other.
            name: of the term in the metrics, <name>_loss.
        """
        learner, sequences = self.learner, rollouts.sequences
        flat, n_tokens = advantages.flatten(), max(1, len(rollouts.logp))
        rows = torch.nonzero(((flat != 0) | all_rollouts) & (sequences.lengths > 0)).flatten().tolist()
        rows, counts = sequences.distinct(rows, flat.tolist())
        unknown = rollouts, torch.full((n_tokens,), torch.nan)  # NaN stops a run that asks for what no one has written
        _, old_logp = self.old_logp.setdefault(id(rollouts), unknown)
        log_prob = partial(_log_prob, temperature=learner.settings.temperature)

        def value(batch: Sequences, rows: list[int], weights: Tensor) -> Tensor:
            hidden = completion_hidden(learner.policy, batch, learner.share_prompts)  # [M, D]
            logp: Tensor = per_token(learner.policy, log_prob, hidden, batch.tokens)  # [M]
            index = sequences.token_index(rows)
            if self.is_first:
                old_logp[index] = logp.detach().cpu()
            old, sampler_logp = old_logp[index].to(logp.device), rollouts.logp[index].to(logp.device)
            token_advantages = flat[rows].repeat_interleave(batch.lengths).to(logp.device)
            self.ratio.add(logp.detach(), old, sampler_logp, weights, clip)
            return loss(logp, old, sampler_logp, token_advantages)

        self._add(name, 1.0, sequences, rows, counts, n_tokens, value, learner.share_prompts)

    def distill(self, divergence: Divergence, demonstrations: Demonstrations, top_k: int, weight: float) -> None:
        """Add `weight` times the divergence of the student from the teacher, per token of the demonstrations.

        Demonstrations rarely share a prompt, so reading each one whole needs half the kernels.

        Args:
            divergence: divergence(student_logits [M, V], teacher_logp [M, K], teacher_tokens [M, K]), [M].
        """
        learner, student, teacher = self.learner, demonstrations.student, demonstrations.teacher
        rows, counts = teacher.distinct(list(range(len(teacher))))
        batches = [rows for rows, _ in learner.micro_batches(teacher, rows, counts)]
        shown = [teacher.select(rows) for rows in batches]
        targets = iter(learner.teacher.targets(shown, top_k) if shown and learner.teacher else [])

        def value(batch: Sequences, rows: list[int], weights: Tensor) -> Tensor:
            hidden = completion_hidden(learner.policy, student.select(rows))
            found: Tensor = per_token(learner.policy, divergence, hidden, *next(targets))  # [M]
            return found

        n_tokens = max(1, int(student.lengths.sum()))
        self._add("distill", weight, teacher, rows, counts, n_tokens, value)

    def _add(
        self,
        name: str,
        weight: float,
        sequences: Sequences,
        rows: list[int],
        counts: list[int],
        n_tokens: int,
        value: Callable[[Sequences, list[int], Tensor], Tensor],
        share_prompts: bool = False,
    ) -> None:
        """Accumulate the gradient of weight · Σ counts · value / n_tokens over all tokens of `rows`."""
        if any(term.name == name for term in self.terms):
            raise ValueError(f"two terms of the loss are called {name!r}")
        term = Term(name, weight)
        if self.learner.settings.log_gradient_norms and self.terms:
            term.before = [gradient.clone() for gradient in self.learner.gradients()]
        self.terms.append(term)
        for group, often in self.learner.micro_batches(sequences, rows, counts, share_prompts):
            batch = sequences.select(group)
            weights = torch.tensor(often, dtype=torch.float32).repeat_interleave(batch.lengths)
            weights = weights.to(self.learner.policy.device)
            loss = (value(batch, group, weights) * weights).sum() / n_tokens
            (weight * loss).backward()
            term.value += float(loss.detach())

    def gradient_norms(self) -> dict[str, float]:
        """The norm of each term's gradient, once the ranks' gradients are summed; empty unless they are logged."""
        if not self.learner.settings.log_gradient_norms:
            return {}
        total = after = self.learner.gradients()
        norms = {}
        for term in reversed(self.terms):
            before = term.before or [torch.zeros_like(gradient) for gradient in total]
            ranks.sum_gradients(before if term.before else [])
            difference = [new - old for new, old in zip(after, before, strict=True)]
            norms[f"grad_norm_{term.name}"] = float(ranks.whole(torch.nn.utils.get_total_norm(difference)))
            after = before
        return norms


def _log_prob(logits: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """log π_θ(token) at the sampling temperature, [M]."""
    return token_logp(logits / temperature, tokens)
