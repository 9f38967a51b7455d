"""Shifting and masking: the same tokens, whatever the padding, the prompt or the batch around them."""

import math

import pytest
import torch

from hdpo.model.forward import completion_logits, token_entropy, token_logp
from hdpo.model.loading import load_policy
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Sampler
from hdpo.system.rng import generator
from helpers.sequences import sequences


@pytest.fixture
def wrapped(base_folder):
    return load_policy(base_folder, implementation="transformers")


@pytest.mark.parametrize("share_prompts", [False, True])
def test_logits_equal_one_unpadded_forward_per_sequence(policy, reference, share_prompts):
    batch = sequences()
    with torch.no_grad():
        found = completion_logits(policy, batch, share_prompts)
        start = 0
        for prompt, completion in zip(batch.prompts, batch.completions, strict=True):
            whole = reference(input_ids=torch.cat([prompt, completion])[None]).logits[0]
            expected = whole[len(prompt) - 1 : -1]  # position t predicts token t + 1
            assert torch.allclose(found[start : start + len(completion)], expected, atol=2e-5)
            start += len(completion)
    assert start == len(found) == len(batch.tokens)


@pytest.mark.parametrize("lengths", [(6, 1, 11, 3), (1, 1, 1, 1)])
def test_sharing_prompts_changes_neither_loss_nor_gradient(policy, lengths):
    """Twelve completions of four prompts, two of them equal: the gradient through the shared reading is the sum."""
    random = torch.Generator().manual_seed(4)
    prompts = [torch.randint(2, 76, (n,), generator=random) for n in (4, 9, 5)]
    prompts.append(prompts[1].clone())
    rows = [i for i in range(4) for _ in range(3)]
    completions = [torch.randint(2, 76, (lengths[i] + j,), generator=random) for j, i in enumerate(rows)]
    batch = Sequences([prompts[i] for i in rows], completions)
    assert len(batch.distinct_prompts()[0]) == 3
    found = []
    for share_prompts in (False, True):
        policy.zero_grad()
        loss = -token_logp(completion_logits(policy, batch, share_prompts), batch.tokens).sum()
        loss.backward()
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in policy.parameters()])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-3 * float(found[0][1].abs().max()))


def loss_and_gradient(policy, batch: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs of the tokens, and the gradient of a weighted sum of them."""
    policy.zero_grad()
    logp = token_logp(completion_logits(policy, batch), batch.tokens)
    (logp * torch.arange(1, 1 + len(logp))).sum().backward()
    return logp.detach(), torch.cat([p.grad.flatten() for p in policy.parameters()])


def reading(model, monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the token ids that the model is fed from now on."""
    shapes, forward = [], model.forward

    def seen(ids, *args, **kwargs):
        shapes.append(tuple(ids.shape))
        return forward(ids, *args, **kwargs)

    monkeypatch.setattr(model, "forward", seen)
    return shapes


def test_packed_sequences_do_not_see_each_other(wrapped, monkeypatch):
    """Joined to one row, with prompts of one token among them: as if each stood in a row of its own."""
    batch = sequences()
    batch.prompts[1] = batch.prompts[1][:1]  # with its one completion token, a sequence of one
    shapes = reading(wrapped, monkeypatch)
    padded, slope = loss_and_gradient(wrapped, batch)
    monkeypatch.setattr(wrapped, "packs", True)
    packed, packed_slope = loss_and_gradient(wrapped, batch)
    assert shapes == [(4, 15), (1, 9 + 1 + 15 + 6)]
    assert torch.allclose(packed, padded, atol=2e-5)
    assert torch.allclose(packed_slope, slope, atol=1e-5 * float(slope.abs().max()))


def test_gradient_checkpointing_computes_layers_twice_and_the_same(base_folder, wrapped):
    model = load_policy(base_folder, gradient_checkpointing=True)
    calls = []
    model.layers[0].self_attn.register_forward_hook(lambda module, *_: calls.append(module.training))
    logp, slope = loss_and_gradient(model, sequences())
    assert calls == [False, False]  # forward and again in backward, with dropout off
    expected, expected_slope = loss_and_gradient(wrapped, sequences())
    assert torch.allclose(logp, expected, atol=1e-6)
    assert torch.allclose(slope, expected_slope, atol=1e-5 * float(expected_slope.abs().max()))
    with torch.no_grad():
        completion_logits(model, sequences())
    assert len(calls) == 3
    found, plain = (
        Sampler(each, 1, 10).sample(sequences().prompts, 2, 1.0, generator(0, "x")) for each in (model, wrapped)
    )
    assert torch.equal(found.sequences.tokens, plain.sequences.tokens)  # its sampler's cache works as before


def test_completion_tokens_beyond_the_scored_one_do_not_matter(policy):
    """Causality at the seam: the last completion token never feeds a prediction of itself."""
    batch = sequences()
    changed = Sequences(batch.prompts, [torch.cat([c[:-1], c[-1:] * 0 + 5]) for c in batch.completions])
    with torch.no_grad():
        assert torch.equal(completion_logits(policy, batch), completion_logits(policy, changed))


def test_teacher_and_student_rows_are_the_same_tokens_under_longer_prompts(policy):
    """Swap only the prompts: row m of both logit arrays predicts token m of the same completions."""
    student = sequences()
    longer = [torch.cat([prompt, torch.tensor([10, 20, 30, 11])]) for prompt in student.prompts]
    teacher = Sequences(longer, student.completions)
    assert torch.equal(student.tokens, teacher.tokens)
    with torch.no_grad():
        both = completion_logits(policy, student), completion_logits(policy, teacher)
        alone = [completion_logits(policy, teacher.select([i])) for i in range(len(teacher))]
    assert both[0].shape == both[1].shape and not torch.allclose(both[0], both[1], atol=1e-2)
    assert torch.allclose(both[1], torch.cat(alone), atol=2e-5)


def test_empty_prompt_is_refused(policy):
    with pytest.raises(ValueError, match="sequence 0: empty prompt"):
        completion_logits(policy, Sequences([torch.empty(0, dtype=torch.long)], [torch.tensor([3])]))


def test_entropy_and_logp_of_a_known_distribution():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert float(token_entropy(logits)) == pytest.approx(1.5 * math.log(2), rel=1e-6)
    assert float(token_logp(logits, torch.tensor([1]))) == pytest.approx(-2 * math.log(2), rel=1e-6)
