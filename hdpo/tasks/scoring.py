"""Scoring: texts of sampled completions go to the task's verifier, and rewards come back."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hdpo.system import ranks
from hdpo.tasks import Problem, Task, Verdict


@dataclass(frozen=True)
class Judged:
    """What the verifier says of P·n responses, in problem-major order."""

    rewards: torch.Tensor  # R, [P, n]
    texts: list[str]
    verdicts: Counter[str]  # how many of each; empty if the task's verifier knows only right and wrong


@dataclass(frozen=True)
class Scorer:
    """A task with the tokenizer that turns completions into the texts it judges."""

    task: Task
    tokenizer: Any

    def judge(self, problems: Sequence[Problem], completions: list[torch.Tensor]) -> Judged:
        """Judge P·n completions of P problems, in problem-major order, in one call of the verifier.

        Only the end token is no part of a response: a padding or unknown token inside makes another text. Every rank
        scores its share and returns the scores of all.

        Raises:
            NotFinite: a reward is neither 0 nor 1.
        """
        end = self.tokenizer.eos_token_id
        ids = [row.tolist() for row in ranks.share(completions)]
        texts = self.tokenizer.batch_decode([row[:-1] if row[-1:] == [end] else row for row in ids])
        group = len(completions) // max(1, len(problems))
        asked = ranks.share([problem for problem in problems for _ in range(group)])
        judged = ranks.from_all(lambda: (self.task.judge(asked, texts), texts))
        verdicts = [verdict for part, _ in judged for verdict in part]
        texts = [text for _, part in judged for text in part]
        rewards = torch.tensor([float(verdict == Verdict.CORRECT) for verdict in verdicts])
        counted = Counter(verdict.value for verdict in verdicts) if self.task.verifier_can_fail else Counter()
        return Judged(rewards.reshape(len(problems), group), texts, counted)
