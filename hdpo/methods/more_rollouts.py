"""More rollouts: a cliff is sampled again until one rollout succeeds or a budget is spent.

Reinforce-Ada (arXiv:2510.04996). It is the control for the tokens that HDPO spends on its teacher. Differs from the
source: rounds are for cliffs alone, and a group of G keeps every success of its pool before any failure.
"""

from typing import TYPE_CHECKING

import torch

from hdpo.learning.cliffs import cliff_mask
from hdpo.methods.grpo import GRPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer


class MoreRollouts(GRPO):
    """GRPO that spends further rollouts on cliffs."""

    name = "more-rollouts"
    named = ("budget",)

    budget: Count  # further rollouts of a cliff
    max_cliffs: Count = 32  # in a step

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)  # [P, G]
        group = rewards.shape[1]
        pools = [list(range(i * group, (i + 1) * group)) for i in range(len(problems))]  # places among all rollouts
        reward = rewards.flatten().tolist()
        open_cliffs = torch.nonzero(cliff_mask(rewards)).flatten().tolist()[: self.max_cliffs]
        spent = 0
        while open_cliffs and spent < self.budget:
            count = min(group, self.budget - spent)
            again = [problems[i] for i in open_cliffs]
            more = trainer.sample(again, count)
            for row, i in enumerate(open_cliffs):
                pools[i] += range(len(reward) + row * count, len(reward) + (row + 1) * count)
            reward += trainer.score(again, more).flatten().tolist()
            rollouts, spent = rollouts + more, spent + count
            open_cliffs = [i for i in open_cliffs if not any(reward[place] for place in pools[i])]
        chosen, advantages = [], []
        for pool in pools:
            of_pool = self.advantages(torch.tensor([[reward[place] for place in pool]]))[0]  # baseline: the whole pool
            failed = torch.tensor([reward[place] for place in pool]) == 0
            kept = failed.int().argsort(stable=True)[:group].sort().values.tolist()  # successes before failures
            chosen += [pool[j] for j in kept]
            advantages.append(of_pool[kept])
        batch = rollouts.select(chosen)
        for learn in trainer.updates():
            learn.policy(self.surrogate, batch, torch.stack(advantages), self.clip)
