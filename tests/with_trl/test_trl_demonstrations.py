"""Demonstrations of HDPO in TRL: how they are dealt, and the divergence on them."""

from contextlib import nullcontext

import pytest
import torch

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from transformers import GPT2Config, GPT2LMHeadModel, Qwen2ForCausalLM

from hdpo.learning.jsd import top_k_jsd
from hdpo.model.forward import completion_logits as kits_logits
from hdpo.model.loading import load_policy
from hdpo.model.sequences import Sequences
from hdpo.trl import demonstrations
from hdpo.trl.demonstrations import NOTHING, Demonstration, completion_logits, deal, divergence

CPU = torch.device("cpu")
SOME = [
    Demonstration((5, 6), (5, 6, 7, 8), (9, 10, 1)),
    Demonstration((5,), (5, 7, 8), (11, 1)),
    Demonstration((7, 8, 9, 10), (7, 9), (12, 13, 14, 15, 1)),
]


@pytest.fixture
def model(folder):
    return Qwen2ForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("equally", [False, True])
def test_processes_and_micro_batches_share_all_demonstrations(size, equally):
    found = [SOME[0]] * 3 + [SOME[1]] + [SOME[2]] * 2
    shares = [deal(found, 2, 1, rank, size, equally) for rank in range(size)]
    dealt = [pair for share in shares for batches in share for batch in batches for pair in batch if batch != NOTHING]
    assert sorted(dealt) == sorted([(SOME[0], 3), (SOME[1], 1), (SOME[2], 2)])
    for share in shares:
        assert len(share) == 2 and all(len(batch) == 1 for batches in share for batch in batches)
    passes = [[len(batches) for batches in share] for share in shares]
    assert not equally or all(found == passes[0] for found in passes)


def test_without_demonstrations_no_one_makes_a_pass():
    assert deal([], 3, 4, 0, 2, True) == [[], [], []]


def test_logits_are_those_that_the_kit_finds(model, folder):
    prompts, completions = [one.student for one in SOME], [one.completion for one in SOME]
    found = completion_logits(model, prompts, completions, CPU, 0)
    policy = load_policy(folder / "base", implementation="small")
    batch = Sequences(*[[torch.tensor(row) for row in rows] for rows in (prompts, completions)])
    assert torch.allclose(found, kits_logits(policy, batch), atol=1e-4)


def test_a_model_with_absolute_positions_counts_them_from_the_first_token():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=16, n_embd=16, n_layer=2, n_head=2)).eval()
    prompts, completions = [one.student for one in SOME], [one.completion for one in SOME]
    together = completion_logits(model, prompts, completions, CPU, 0)
    alone = [completion_logits(model, [x], [y], CPU, 0) for x, y in zip(prompts, completions, strict=True)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("tail", ["exact", "paper"])
def test_the_divergence_counts_equal_demonstrations_and_gives_the_teacher_no_gradient(model, folder, tail):
    teacher = Qwen2ForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    batch = [(SOME[0], 2), (SOME[1], 1)]
    found = divergence(model, nullcontext(teacher), batch, CPU, 4, tail, 0)
    found.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    expected = 0.0
    for one, count in batch:
        logits = [completion_logits(model, [x], [one.completion], CPU, 0).detach() for x in (one.teacher, one.student)]
        expected += count * float(top_k_jsd(*logits, 4, tail).sum())
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_pieces_of_a_large_vocabulary_add_up_to_the_whole(model, monkeypatch):
    def gradient():
        model.zero_grad()
        divergence(model, nullcontext(model), [(one, 1) for one in SOME], CPU, 8, "exact", 0).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    whole = gradient()
    monkeypatch.setattr(demonstrations, "LOGITS_CHUNK", 3 * model.config.vocab_size)
    assert torch.allclose(gradient(), whole, atol=1e-6) and whole.abs().max() > 1e-3


def test_nothing_adds_a_gradient_of_exactly_zero(model):
    divergence(model, nullcontext(model), NOTHING, CPU, 8, "exact", 0).backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())
