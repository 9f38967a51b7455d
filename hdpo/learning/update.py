"""The terms of a loss: what each adds to the gradient of one optimiser step.

Each term is a sum over tokens divided by a token count of the whole step, which is known before any forward pass. So
micro-batches change memory and rounding, and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hdpo.learning.metrics import RatioStatistics
from hdpo.learning.teacher import Pairs
from hdpo.model.forward import completion_hidden, per_token, token_logp
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Rollouts
from hdpo.system import ranks

if TYPE_CHECKING:
    from hdpo.learning.learner import Learner

PolicyLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of log-probs, old ones, the sampler's, advantages
OldLogp = dict[int, tuple[Rollouts, Tensor]]  # rollouts and log π_old of their tokens, by identity
Divergence = Callable[[Tensor, Tensor, Tensor], Tensor]  # of student logits, the teacher's log-probs and tokens


@dataclass
class Term:
    """One term of the loss: its value on this rank, and the gradient before it was added, if norms are logged."""

    name: str
    weight: float
    value: float = 0.0
    before: list[Tensor] | None = None


class Update:
    """One optimiser step in the making: every call adds the gradient of one term of the loss."""

    def __init__(self, learner: "Learner", old_logp: OldLogp, is_first: bool) -> None:
        """The first update of a batch writes log π_old, and the later ones read it."""
        self.learner, self.old_logp, self.is_first = learner, old_logp, is_first
        self.terms: list[Term] = []
        self.ratio = RatioStatistics()
        self.forward = self.backward = 0  # tokens that pass through the network, prompts included, of all ranks

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
            advantages: of each rollout, [P, G], or of each token, [M].
            clip: log the share of tokens whose ratio π_θ/π_old is further than this from 1; the loss does not see it.
            all_rollouts: False skips rollouts with advantage 0. Their tokens count, but they do not go through the
                network: a loss in proportion to the advantage gets exactly nothing from them. Say True for any other.
            name: of the term in the metrics, <name>_loss.
        """
        learner, sequences = self.learner, rollouts.sequences
        if advantages.dim() == 2:
            values, signal = advantages.flatten().tolist(), advantages.flatten() != 0
            of_token = advantages.flatten().repeat_interleave(sequences.lengths)
        else:
            values = [tuple(part.tolist()) for part in advantages.split(sequences.lengths.tolist())]
            signal, of_token = torch.tensor([any(part) for part in values], dtype=torch.bool), advantages
        rows = torch.nonzero((signal | all_rollouts) & (sequences.lengths > 0)).flatten().tolist()
        rows, counts = sequences.distinct(rows, values)
        n_tokens = max(1, len(rollouts.logp))
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
            self.ratio.add(logp.detach(), old, sampler_logp, weights, clip)
            return loss(logp, old, sampler_logp, of_token[index].to(logp.device))

        self._count(sequences.select(rows).passed(learner.share_prompts))
        self._add(name, 1.0, sequences, rows, counts, n_tokens, value, learner.share_prompts)

    def distill(self, divergence: Divergence, pairs: Pairs, top_k: int, weight: float, name: str = "distill") -> None:
        """Add `weight` times the divergence of the student from the teacher, per token of the pairs' completions.

        Demonstrations rarely share a prompt, so reading each one whole needs half the kernels.

        Args:
            divergence: divergence(student_logits [M, V], teacher_logp [M, K], teacher_tokens [M, K]), [M].
        """
        learner, student, teacher = self.learner, pairs.student, pairs.teacher
        rows, counts = teacher.distinct(list(range(len(teacher))))
        self.forward += teacher.select(rows).passed()
        self._count(student.select(rows).passed())
        batches = [rows for rows, _ in learner.micro_batches(teacher, rows, counts)]
        shown = [teacher.select(rows) for rows in batches]
        targets = iter(learner.teacher.targets(shown, top_k) if shown and learner.teacher else [])

        def value(batch: Sequences, rows: list[int], weights: Tensor) -> Tensor:
            hidden = completion_hidden(learner.policy, student.select(rows))
            found: Tensor = per_token(learner.policy, divergence, hidden, *next(targets))  # [M]
            return found

        n_tokens = max(1, int(student.lengths.sum()))
        self._add(name, weight, teacher, rows, counts, n_tokens, value)

    def imitate(
        self,
        loss: Callable[[Tensor], Tensor],
        sequences: Sequences,
        weight: float,
        n_tokens: int | None = None,
        name: str = "imitation",
    ) -> None:
        """Add `weight` times loss(logp) of each token, [M], for text that another policy wrote.

        Log-probs are at temperature 1.

        Args:
            n_tokens: what the sum over tokens is divided by; None: the tokens of `sequences`.
        """
        policy, share = self.learner.policy, self.learner.share_prompts
        rows, counts = sequences.distinct(torch.nonzero(sequences.lengths > 0).flatten().tolist())

        def value(batch: Sequences, rows: list[int], weights: Tensor) -> Tensor:
            logp: Tensor = per_token(policy, token_logp, completion_hidden(policy, batch, share), batch.tokens)
            return loss(logp)

        tokens = max(1, int(sequences.lengths.sum())) if n_tokens is None else n_tokens
        self._count(sequences.select(rows).passed(share))
        self._add(name, weight, sequences, rows, counts, tokens, value, share)

    def _count(self, passed: int) -> None:
        """Note tokens that the policy reads forward and backward."""
        self.forward, self.backward = self.forward + passed, self.backward + passed

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
