"""REINFORCE (Williams 1992): push every rollout by its reward, less the mean reward of its group."""

from hdpo.study.method import Method


class Reinforce(Method):
    """Policy gradient without clipping."""

    name = "reinforce"

    baseline: bool = True  # subtract the group's mean

    def step(self, trainer):
        problems = trainer.draw()  # x ~ D, [P]
        rollouts = trainer.sample(problems)  # y_1..y_G ~ π_θ(· | x), [P·G]
        rewards = trainer.score(problems, rollouts)  # R(x, y), [P, G]
        advantages = rewards - rewards.mean(dim=1, keepdim=True) if self.baseline else rewards
        for learn in trainer.updates():
            learn.policy(loss, rollouts, advantages)


def loss(logp, old_logp, sampler_logp, advantages):
    """−A · log π_θ(y_t | x, y_<t) of each token, [M]."""
    return -advantages * logp
