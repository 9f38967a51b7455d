"""The learner: turns terms of a loss into one optimiser step, whatever the number of processes and micro-batches.

A method opens a step and adds terms to it (`hdpo.learning.update`):

    for learn in learner.updates(rate, report):
        learn.policy(surrogate, rollouts, advantages)
        learn.distill(divergence, demonstrations, top_k, weight=λ)
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hdpo.learning.masters import master_weights, round_into
from hdpo.learning.optimizer import AdamW
from hdpo.learning.teacher import Teacher
from hdpo.learning.update import OldLogp, Update
from hdpo.model.language_model import LanguageModel
from hdpo.model.sequences import Sequences
from hdpo.study.schema import Train
from hdpo.system import ranks
from hdpo.system.finite import NotFinite, require_finite


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

    def updates(self, rate: float, report: dict[str, Any]) -> Iterator[Update]:
        """`updates_per_batch` optimiser steps at learning rate `rate`, each taken when its loop body ends.

        `report` receives the losses, norms and ratios of the last one, and the tokens that all passed `forward` and
        `backward` through the network.

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
            for name, passed in (("forward", update.forward), ("backward", update.backward)):
                report[name] = report.get(name, 0) + passed
        norm_of_weights = torch.nn.utils.get_total_norm(self.weights.values())
        require_finite("norm of the updated weights", ranks.whole(norm_of_weights))
        report["learning_rate"] = rate

    def _finish(self, update: Update) -> dict[str, Any]:
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
