"""The theory's updates are those of the trainer's own loss functions, on the same bandit."""

import numpy as np
import pytest
import torch

from hdpo.learning.advantages import group_advantages
from hdpo.learning.jsd import top_k_jsd
from hdpo.learning.policy_gradient import clipped_surrogate
from hdpo.theory.bandit import example_bandit
from hdpo.theory.cliff import distillation_update, group_update


@pytest.fixture
def toy():
    return example_bandit()


@pytest.mark.parametrize("arms", [[4, 5, 6, 7, 4], [0, 5, 6, 7, 4], [0, 1, 2, 2, 9]])
def test_grpo_gradient(toy, arms):
    logits = torch.tensor(toy.student_logp(), requires_grad=True)
    logp = logits.log_softmax(0)[arms]
    advantages = group_advantages(torch.tensor(toy.reward[arms])[None])[0]
    (clipped_surrogate(logp, logp.detach(), advantages, 0.2).sum() / len(arms)).backward()
    expected = group_update(toy.student_logp(), toy.reward, np.array(arms))
    assert (np.abs(expected).max() == 0) == (toy.reward[arms].sum() == 0)
    np.testing.assert_allclose(-logits.grad.numpy(), expected, atol=1e-13)


def test_distillation_gradient(toy):
    teacher = toy.teacher_logp([2.0, 1.0])
    logits = torch.tensor(toy.student_logp(), requires_grad=True)
    top_k_jsd(torch.tensor(teacher)[None], logits[None], k=64).sum().backward()
    expected = distillation_update(toy.student_logp(), teacher)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(-logits.grad.numpy(), expected, rtol=1e-9, atol=1e-14)
