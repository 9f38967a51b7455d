"""Proposition 1's quantities on a (tiny, untrained) language model."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hdpo.model.transformers_model import TransformersModel
from hdpo.system.errors import UserError
from hdpo.theory.model_gap import token_gaps

PLAIN, PRIVILEGED, COMPLETIONS = ["1 2", "3"], ["1 2 5 6", "3 7"], ["5 6 0", "7 0"]


def tokenizer(texts, add_special_tokens):
    return {"input_ids": [[int(word) for word in text.split()] for text in texts]}


def tiny_model(seed: int):
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # so that contexts change the predictions visibly
    return TransformersModel(model)


def test_one_row_per_completion_token_with_both_contexts_aligned():
    model, other = tiny_model(0), tiny_model(1)
    gaps = token_gaps(model, tokenizer, PLAIN, PRIVILEGED, COMPLETIONS, other)
    assert list(zip(gaps["sequence"], gaps["position"], strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    with torch.no_grad():  # the second token of the second sequence by hand: contexts "3 7 | 7" and "3 | 7"
        teacher, student = (model.logits(model(torch.tensor([ids])))[0, -1].double() for ids in ([3, 7, 7], [3, 7]))
    expected = torch.nn.functional.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="sum"
    )
    assert expected > 1e-4
    assert gaps["same_kl"].iloc[-1] == pytest.approx(expected.item(), rel=1e-4)
    assert gaps["same_bound"].iloc[-1] == pytest.approx(((teacher - student).abs().max() ** 2 / 2).item(), rel=1e-4)
    assert (gaps["same_kl"] <= gaps["same_range_bound"]).all()
    assert (gaps["cross_kl"] <= gaps["cross_bound"]).all()


def test_equal_contexts_have_no_gap():
    gaps = token_gaps(tiny_model(0), tokenizer, PLAIN, PLAIN, COMPLETIONS)
    assert gaps["same_kl"].max() < 1e-12
    assert "cross_kl" not in gaps


def test_bad_lists_are_named():
    with pytest.raises(UserError, match="equally many, got 2, 1 and 2"):
        token_gaps(tiny_model(0), tokenizer, PLAIN, PRIVILEGED[:1], COMPLETIONS)
    with pytest.raises(UserError, match="at least one token"):
        token_gaps(tiny_model(0), tokenizer, PLAIN, PRIVILEGED, ["5", ""])
