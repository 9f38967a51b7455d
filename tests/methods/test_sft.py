"""SFT on cliffs: cross-entropy of y* given x, per token, beside GRPO."""

import torch

from hdpo.methods.sft import SFT
from helpers import hand
from helpers.hand import CLIFF, OF_ONE, ONE, TWO
from helpers.recorder import Recorder


def test_the_step_copies_the_references_of_cliffs():
    trainer = Recorder(torch.tensor([CLIFF, ONE, CLIFF, CLIFF]), updates=2)
    SFT(imitation_weight=0.5, max_cliffs=2).step(trainer)
    kinds = [call[0] for call in trainer.calls]
    assert kinds == ["draw", "sample", "score", "references", *["update", "policy", "imitate"] * 2]
    assert trainer.of("references") == [(["x0", "x2"],)]
    assert trainer.of("imitate") == [("cross_entropy", ("x0*", "x2*"), 0.5)] * 2


def test_the_gradient_is_grpos_and_that_of_the_cross_entropy(make_trainer):
    trainer = hand.trainer(make_trainer, "sft-0.5")
    record, found = hand.gradients(trainer, [ONE, CLIFF])
    policy = hand.reinforce(trainer, trainer.log.rollouts[0].sequences, [*OF_ONE, *CLIFF]) / 36
    (of_reference,) = hand.logp(trainer.policy, hand.reference(trainer, hand.drawn()[1]))
    assert of_reference.shape == (6,) and abs(record["imitation_loss"] + of_reference.mean().item()) < 1e-5
    hand.assert_gradients(trainer, found, policy - 0.5 * of_reference.mean())


def test_a_reference_is_cut_to_the_longest_response(make_trainer):
    trainer = hand.trainer(make_trainer, "sft-0.5", train__max_response_tokens=4)
    found = trainer.references(hand.drawn())
    assert [len(text) for text in found.completions] == [4, 4]
    whole = [hand.reference(trainer, problem) for problem in hand.drawn()]
    for i, text in enumerate(whole):
        assert torch.equal(found.completions[i], text.completions[0][:4])
        assert torch.equal(found.prompts[i], text.prompts[0])


def test_where_all_groups_have_signal_it_is_grpo_bit_for_bit(make_trainer):
    hand.assert_same_bits(make_trainer, "sft-0.5", "grpo", [ONE, TWO])


def test_tokens(make_trainer):
    """Drawn 2·5 + 6·5; learned 5 + 3·5 of the first group, and 5 + 5 of the reference."""
    record, _ = hand.gradients(hand.trainer(make_trainer, "sft-0.5"), [ONE, CLIFF])
    assert hand.tokens(record) == (36, 0, 40 + 20 + 10, 20 + 10)


def test_problems_without_a_hint(make_study, base_folder, monkeypatch, capsys):
    monkeypatch.setattr("hdpo.tasks.countdown.hint_text", lambda *_: "")
    make_study(model__path=str(base_folder))
    for run in ("sft-0.5", "rft-drifting-0.5", "luffy-0.1", "hint-rl-4", "opsd-jsd-1", "sft-then-rl-2"):
        line = hand.refusal(capsys, run)
        assert "needs hints, and 64 training problems have none" in line, run
