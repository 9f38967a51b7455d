"""RFT: cross-entropy of correct privileged rollouts given the plain prompt."""

import torch

from hdpo.methods.rft import RFT
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Recorder

RUN = "rft-drifting-0.5+privileged_rollouts=2"


def test_the_step_copies_what_the_teacher_solved():
    trainer = Recorder(torch.tensor([CLIFF, ONE, CLIFF, CLIFF]), unsolved=("x2",))
    RFT(distill_weight=0.5, max_cliffs=2, privileged_rollouts=3).step(trainer)
    kinds = [call[0] for call in trainer.calls]
    assert kinds == ["draw", "sample", "score", "demonstrate", "update", "policy", "imitate"]
    assert trainer.of("demonstrate") == [(["x0", "x2"], 3)]
    assert trainer.of("imitate") == [("cross_entropy", ("student", "x0"), 0.5)]


def test_the_gradient_is_grpos_and_that_of_the_cross_entropy(make_trainer):
    """Of two privileged rollouts the second is right."""
    trainer = hand.trainer(make_trainer, RUN)
    record, found = hand.gradients(trainer, [ONE, CLIFF], teacher=([[0.0, 1]],))
    policy = hand.reinforce(trainer, trainer.log.rollouts[0].sequences, [*OF_ONE, *CLIFF]) / 36
    student = trainer.log.demonstrations[0].student
    (of_demonstration,) = hand.logp(trainer.policy, student)
    assert [len(prompt) for prompt in student.prompts] == [5] and record["privileged_pass_rate"] == 0.5
    hand.assert_gradients(trainer, found, policy - 0.5 * of_demonstration.mean())


def test_without_cliffs_or_without_weight_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, RUN, "grpo", [ONE, TWO])
    hand.assert_same_bits(make_trainer, "rft-frozen-0", "grpo", [ONE, CLIFF])


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5, and 11 + 2·5 by the teacher; learned 5 + 3·5 of the first group, and 5 + 5 of one rollout."""
    record, _ = hand.gradients(hand.trainer(make_trainer, RUN), [ONE, CLIFF], teacher=([[0.0, 1]],))
    assert hand.tokens(record) == (36, 12, 40 + 21 + 20 + 10, 20 + 10)


def test_parameters_of_a_divergence_are_refused(make_study, capsys):
    make_study()
    for run in ("rft-frozen-1+top_k=8", "rft-frozen-1+tail=paper"):
        assert "top_k and tail belong to a divergence" in hand.refusal(capsys, run)
