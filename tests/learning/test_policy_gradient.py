"""GRPO's pure functions against values worked out by hand and against autograd on the textbook formula."""

import math

import pytest
import torch

from hdpo.learning.advantages import group_advantages
from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.policy_gradient import clipped_surrogate, truncated_importance


def rewards_with(successes: int, group: int = 16) -> torch.Tensor:
    return torch.tensor([[1.0] * successes + [0.0] * (group - successes)])


def test_advantage_table_of_the_base_framework():
    # One success in 16. Its others are all 0: b = 0, std = 0, so A = 1. A failure sees one success among 15:
    # b = 1/15, std² = (1/15 − 1/225)·15/14 = 1/15, A = −(1/15)/√(1/15) = −1/√15 = −0.2582.
    one = group_advantages(rewards_with(1))[0]
    assert one[0] == 1.0
    assert one[1:].tolist() == pytest.approx([-1 / math.sqrt(15)] * 15, rel=1e-4)
    # Two successes. A success sees one among 15: A = (14/15)/√(1/15) = 3.615; a failure sees two:
    # b = 2/15, std² = (2/15 − 4/225)·15/14 = 13/105, A = −(2/15)/√(13/105) = −0.3789.
    two = group_advantages(rewards_with(2))[0]
    assert two[:2].tolist() == pytest.approx([14 / 15 * math.sqrt(15)] * 2, rel=1e-4)
    assert two[2:].tolist() == pytest.approx([-2 / 15 / math.sqrt(13 / 105)] * 14, rel=1e-4)


@pytest.mark.parametrize("baseline", ["leave_one_out", "mean"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("successes", [0, 16])
def test_uniform_groups_have_exactly_no_advantage(baseline, normalize, successes):
    assert group_advantages(rewards_with(successes), baseline, normalize).abs().max() == 0


@pytest.mark.parametrize("group", [3, 7, 12, 16, 64])
def test_leave_one_out_equals_its_definition(group):
    rewards = torch.rand(5, group, generator=torch.Generator().manual_seed(group)).round()
    for row, found in zip(rewards.double(), group_advantages(rewards), strict=True):
        for i in range(group):
            others = torch.cat([row[:i], row[i + 1 :]])
            deviation = others.std(unbiased=True)
            expected = (row[i] - others.mean()) / (deviation + 1e-6 if deviation > 0 else 1)
            assert float(found[i]) == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_mean_baseline_equals_the_group_statistics():
    rewards = rewards_with(3, 8)
    expected = (rewards - rewards.mean()) / (rewards.std(unbiased=True) + 1e-6)
    assert torch.allclose(group_advantages(rewards, "mean"), expected, rtol=1e-5)


def test_cliffs_are_the_all_fail_prompts_only():
    rewards = torch.cat([rewards_with(0), rewards_with(1), rewards_with(16)])
    assert cliff_mask(rewards).tolist() == [True, False, False]


def test_surrogate_of_three_tokens_by_hand():
    # ratios 1.5, 0.5, 1.1 with advantages 1, −1, 2 and ε = 0.2:
    # min(1.5, 1.2) = 1.2, min(−0.5, −0.8) = −0.8, min(2.2, 2.2) = 2.2
    logp = torch.tensor([1.5, 0.5, 1.1]).log()
    loss = clipped_surrogate(logp, torch.zeros(3), torch.tensor([1.0, -1.0, 2.0]), clip=0.2)
    assert loss.tolist() == pytest.approx([-1.2, 0.8, -2.2], rel=1e-6)


def test_on_policy_gradient_is_reinforce():
    logp = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantages = torch.tensor([1.0, -0.25, 3.0])
    clipped_surrogate(logp, logp.detach(), advantages, clip=0.2).sum().backward()
    assert torch.equal(logp.grad, -advantages)


def test_clipped_tokens_stop_pushing():
    logp = torch.tensor([math.log(1.5), math.log(0.5)], requires_grad=True)
    clipped_surrogate(logp, torch.zeros(2), torch.tensor([1.0, -1.0]), clip=0.2).sum().backward()
    assert logp.grad.tolist() == [0.0, 0.0]


def test_truncated_importance_by_hand():
    # π_old / π_sampler = 0.2/0.1, 0.1/0.2, 0.5/0.1, 0.3/0.3; the third is cut to 3.
    old = torch.tensor([0.2, 0.1, 0.5, 0.3]).log().requires_grad_()
    found = truncated_importance(old, torch.tensor([0.1, 0.2, 0.1, 0.3]).log(), 3.0)
    assert found.tolist() == pytest.approx([2.0, 0.5, 3.0, 1.0]) and not found.requires_grad


def test_truncated_importance_may_multiply_the_advantage():
    """w · min(ρA, clip(ρ)A) = min(ρ·wA, clip(ρ)·wA), for either sign and on either side of the clip."""
    logp, weights = torch.tensor([0.7, 1.5, 0.7, 1.5]).log(), torch.tensor([0.5, 2.0, 3.0, 0.0])
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    found = clipped_surrogate(logp, torch.zeros(4), weights * advantages, clip=0.2)
    assert found.tolist() == pytest.approx([-0.5 * 0.7, -2.0 * 1.2, 3.0 * 0.8, 0.0])
