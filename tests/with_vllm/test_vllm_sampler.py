"""vLLM's rollouts against transformers in float32, for real: `make test-vllm`. Skipped where vLLM is not installed."""

import pytest
import torch

pytest.importorskip("vllm")

from transformers import AutoModelForCausalLM

from hdpo.model.forward import completion_logits, token_logp
from hdpo.sampling.vllm_sampler import VllmSampler
from hdpo.system.errors import UserError
from helpers.vllm_models import EOS, LENGTH, RESPONSE, VOCABULARY, greedy_of_transformers, seed, tokens


def test_greedy_tokens_are_those_of_transformers(sampler, folder, prompts):
    reference = AutoModelForCausalLM.from_pretrained(folder)
    drawn = sampler.sample(prompts, 1, 0.0)
    assert tokens(drawn) == greedy_of_transformers(reference, prompts)
    assert [prompt.tolist() for prompt in drawn.sequences.prompts] == [prompt.tolist() for prompt in prompts]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_its_log_probs_are_the_trainers(sampler, policy, prompts, temperature):
    drawn = sampler.sample(prompts, 4, temperature, seed())
    with torch.no_grad():
        logits = completion_logits(policy, drawn.sequences) / (temperature or 1)
    expected = token_logp(logits, drawn.sequences.tokens)
    assert len(drawn.logp) == len(drawn.entropy) == len(drawn.sequences.tokens)
    assert torch.allclose(drawn.logp, expected, rtol=0, atol=1e-4)
    if temperature:  # so that equality is of numbers that differ
        assert drawn.logp.std() > 0.3


def test_equal_seeds_give_equal_rollouts_whatever_came_before(sampler, prompts):
    first = sampler.sample(prompts, 4, 1.0, seed())
    other = sampler.sample(prompts[:5], 4, 1.0, seed(1))
    again = sampler.sample(prompts, 4, 1.0, seed())
    assert tokens(first) == tokens(again) and torch.equal(first.logp, again.logp)
    assert tokens(other) != tokens(first)[:20]
    assert len({tuple(row) for row in tokens(first)}) > 55  # of 60: rollouts of a prompt have seeds of their own


def test_first_tokens_come_as_often_as_the_policy_says(sampler, policy, prompts):
    prompt, count = prompts[0], 2000
    short = VllmSampler(policy, EOS, 1, sampler.engine)
    drawn = short.sample([prompt], count, 1.0, seed())
    with torch.no_grad():
        probs = completion_logits(policy, drawn.sequences.select([0])).softmax(-1)[0]
    frequency = torch.bincount(drawn.sequences.tokens, minlength=VOCABULARY) / count
    deviation = (probs * (1 - probs) / count).sqrt()
    assert ((frequency - probs).abs() < 4.5 * deviation + 1 / count).all()
    entropy = -(probs * probs.log()).sum()  # of which −log π of the tokens drawn is an unbiased estimate
    spread = drawn.entropy.std() / count**0.5
    assert abs(drawn.entropy.mean() - entropy) < 4.5 * spread


def test_a_response_ends_with_the_end_token_or_at_its_greatest_length(policy, engine, prompts):
    """The end token is whichever the sampler is given, not what the model's own configuration says."""
    frequent = int(
        torch.cat(VllmSampler(policy, EOS, RESPONSE, engine).sample(prompts, 1, 0.0).sequences.completions)
        .bincount()
        .argmax()
    )
    drawn = tokens(VllmSampler(policy, frequent, RESPONSE, engine).sample(prompts, 8, 1.0, seed()))
    ended = [row for row in drawn if frequent in row]
    assert 5 < len(ended) < len(drawn) - 5
    assert all(row.index(frequent) == len(row) - 1 for row in ended)
    assert all(len(row) == RESPONSE for row in drawn if frequent not in row)
    assert any(EOS in row[:-1] for row in drawn)


def test_more_prompts_than_decode_at_a_time(sampler, policy):
    """27,000 prompt tokens under seeds: more than one pass reads."""
    random = seed(3)
    prompts = [torch.randint(2, VOCABULARY, (90,), generator=random) for _ in range(300)]
    drawn = sampler.sample(prompts, 1, 1.0, seed())
    with torch.no_grad():
        expected = token_logp(completion_logits(policy, drawn.sequences), drawn.sequences.tokens)
    assert torch.allclose(drawn.logp, expected, rtol=0, atol=1e-4)


def test_nothing_to_sample(sampler):
    assert len(sampler.sample([], 4, 1.0, seed()).sequences) == 0


def test_an_overlong_prompt_is_one_line(sampler):
    with pytest.raises(UserError, match=r"a prompt of 493 tokens .*max_response_tokens 20 .*model.max_length 512"):
        sampler.sample([torch.full((LENGTH - RESPONSE + 1,), 5)], 1, 1.0, seed())
    assert len(sampler.sample([torch.full((LENGTH - RESPONSE,), 5)], 1, 1.0, seed()).logp) > 0
