"""Rollouts: the policy's own tokens, log-probs and frequencies, from the generator that is given."""

import math

import torch

from hdpo.model.forward import completion_logits, token_entropy, token_logp
from hdpo.sampling.sampler import Sampler, draw
from hdpo.system.rng import generator
from helpers.sequences import sequences


def sampler(policy, **options) -> Sampler:
    return Sampler(policy, eos_token_id=1, max_response_tokens=10, **options)


def test_greedy_equals_transformers_generate(policy, reference):
    found = sampler(policy).sample(sequences().prompts, 1, 0.0).sequences.completions
    for prompt, completion in zip(sequences().prompts, found, strict=True):
        generated = reference.generate(
            input_ids=prompt[None],
            attention_mask=torch.ones_like(prompt)[None],
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=1,
            pad_token_id=0,
        )
        assert torch.equal(generated[0, len(prompt) :], completion)


def test_its_logp_and_entropy_are_the_trainers(policy):
    rollouts = sampler(policy).sample(sequences().prompts, 6, 1.0, generator(0, "x"))
    with torch.no_grad():
        logits = completion_logits(policy, rollouts.sequences)
    assert torch.allclose(token_logp(logits, rollouts.sequences.tokens), rollouts.logp, atol=1e-4)
    assert torch.allclose(token_entropy(logits), rollouts.entropy, atol=1e-4)


def test_responses_end_at_the_first_end_token_or_the_limit(policy):
    rollouts = sampler(policy).sample(sequences().prompts, 64, 1.0, generator(0, "x"))
    ended = 0
    for completion in rollouts.sequences.completions:
        assert 1 <= len(completion) <= 10 and 1 not in completion[:-1]
        assert len(completion) == 10 or completion[-1] == 1
        ended += int(completion[-1] == 1)
    assert ended > 10  # or the test would not see the dropping of finished rows


def test_same_generator_same_rollouts_other_seed_others(policy):
    draw = lambda seed: sampler(policy).sample(sequences().prompts, 4, 1.0, generator(seed, "x"))  # noqa: E731
    assert torch.equal(draw(1).sequences.tokens, draw(1).sequences.tokens)
    assert draw(1).sequences.tokens.tolist() != draw(2).sequences.tokens.tolist()


def test_frequencies_follow_the_distribution(policy, reference):
    """First tokens of 4000 rollouts against the model's own probabilities (chi-square, error rate 1e-4)."""
    from scipy.stats import chisquare

    prompt = sequences().prompts[:1]
    rollouts = sampler(policy, rows_per_batch=4000).sample(prompt, 4000, 1.0, generator(5, "x"))
    first = torch.stack([completion[0] for completion in rollouts.sequences.completions])
    with torch.no_grad():
        probs = reference(input_ids=prompt[0][None]).logits[0, -1].softmax(-1)
    common = probs * 4000 >= 5
    counts = torch.bincount(first, minlength=76).float()
    observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
    expected = torch.cat([probs[common], probs[~common].sum()[None]]).double() * 4000
    assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


def test_draws_never_meet_a_token_without_probability():
    probs = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(20_000, -1)
    counts = torch.bincount(draw(probs, generator(0, "x")).flatten(), minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert abs(int(counts[1]) - 10_000) < 4 * math.sqrt(20_000) / 2  # four standard deviations


def test_no_prompts_give_no_rollouts(policy):
    rollouts = sampler(policy).sample([], 4, 1.0)
    assert len(rollouts.sequences) == 0 and len(rollouts.logp) == 0
