"""SFT, then RL: the first steps copy the references of cliffs and do nothing else; from then on it is GRPO."""

import torch

from hdpo.methods.sft_then_rl import SFTThenRL
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Recorder


def test_the_two_stages():
    for t, expected in ((1, ["references", "imitate"]), (2, ["policy"])):
        trainer = Recorder(torch.tensor([CLIFF, ONE]))
        trainer.t = t
        SFTThenRL(sft_steps=2).step(trainer)
        assert [call[0] for call in trainer.calls] == ["draw", "sample", "score", "update", *expected]
        assert trainer.of("imitate") == [("cross_entropy", ("x0*",), 1.0)] * (t == 1)


def test_the_gradients_of_the_two_stages(make_trainer):
    trainer = hand.trainer(make_trainer, "sft-then-rl-1")
    record, found = hand.gradients(trainer, [ONE, CLIFF])
    (of_reference,) = hand.logp(trainer.policy, hand.reference(trainer, hand.drawn()[1]))
    hand.assert_gradients(trainer, found, -of_reference.mean())
    assert record["ratio_mean"] is None and record["loss"] == record["imitation_loss"]
    _, found = hand.gradients(trainer, [ONE, CLIFF], t=1)
    sequences = trainer.log.rollouts[0].sequences
    hand.assert_gradients(trainer, found, hand.reinforce(trainer, sequences, [*OF_ONE, *CLIFF]) / 36)


def test_the_second_stage_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "sft-then-rl-1", "grpo", [ONE, TWO], steps=(1, 2))


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5 in either stage; learned 5 + 5 of the reference, then 5 + 3·5 of the group with signal."""
    trainer = hand.trainer(make_trainer, "sft-then-rl-1")
    assert hand.tokens(hand.gradients(trainer, [ONE, CLIFF])[0]) == (36, 0, 40 + 10, 10)
    assert hand.tokens(hand.gradients(trainer, [ONE, CLIFF], t=1)[0]) == (36, 0, 40 + 20, 20)


def test_a_first_stage_that_never_ends(make_study, capsys):
    make_study(train__steps=6)
    assert "sft_steps must be smaller than train.steps" in hand.refusal(capsys, "sft-then-rl-6")
