"""On-policy self-distillation: the teacher with the hint corrects each token of the student's own failures."""

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from hdpo.methods.opsd import OPSD
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Drawn, Recorder, Shown


def test_the_step_distils_on_failed_rollouts_of_cliffs():
    trainer = Recorder(torch.tensor([CLIFF, ONE, CLIFF, CLIFF]), updates=2)
    OPSD(divergence="reverse", distill_weight=0.5, rollouts=2, max_cliffs=2, top_k=7).step(trainer)
    kinds = [call[0] for call in trainer.calls]
    assert kinds == ["draw", "sample", "score", "hinted", *["update", "policy", "distill"] * 2]
    assert trainer.of("hinted") == [(["x0", "x2"], Drawn(("x0.0", "x0.1", "x2.0", "x2.1")))]
    assert trainer.of("distill") == [("reverse_kl", Shown(("x0", "x2")), 7, 0.5)] * 2


def divergence(name: str, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    p, q = Categorical(logits=teacher.detach()), Categorical(logits=student)
    if name == "jsd":
        middle = Categorical(probs=(p.probs + q.probs) / 2)
        return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2
    return kl_divergence(p, q) if name == "forward" else kl_divergence(q, p)


@pytest.mark.parametrize("name", ["forward", "reverse", "jsd"])
@pytest.mark.parametrize("teacher", ["", "+teacher=drifting"])
def test_the_gradient_is_grpos_and_that_of_the_divergence(make_trainer, name, teacher):
    trainer = hand.trainer(make_trainer, f"opsd-{name}-0.5{teacher}+rollouts=2")
    assert (trainer.teacher.model is trainer.policy) == bool(teacher)
    record, found = hand.gradients(trainer, [ONE, CLIFF])
    sequences = trainer.log.rollouts[0].sequences
    failed = sequences.select([3, 4])
    shown = hand.logits(trainer.teacher.model, hand.with_hint(trainer, hand.drawn()[1], failed))
    pairs = zip(shown, hand.logits(trainer.policy, failed), strict=True)
    distance = sum(divergence(name, *pair).sum() for pair in pairs) / 12
    policy = hand.reinforce(trainer, sequences, [*OF_ONE, *CLIFF]) / 36
    assert record["distill_loss"] == pytest.approx(distance.item(), rel=1e-4)
    hand.assert_gradients(trainer, found, policy + 0.5 * distance)


def test_where_all_groups_have_signal_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "opsd-forward-0.5", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5; learned 5 + 3·5, and 2·(5 + 5) of the cliff, of which the teacher reads 2·(11 + 5)."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "opsd-jsd-0.5+rollouts=2"), [ONE, CLIFF])
    assert hand.tokens(record) == (36, 0, 40 + 20 + 20 + 32, 20 + 20)
