"""Shifting and masking: the same tokens, whatever the padding, the prompt or the batch around them."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hdpo.learning.jsd import jsd_k, teacher_top_k
from hdpo.model.forward import completion_hidden, completion_logits, per_token, token_entropy, token_logp
from hdpo.model.loading import load_policy
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Sampler, draw
from hdpo.system.rng import generator


@pytest.fixture(scope="module")
def reference(base_folder):
    """The same weights in transformers' own model."""
    from transformers import Qwen2ForCausalLM

    return Qwen2ForCausalLM.from_pretrained(base_folder).eval()


@pytest.fixture(scope="module", params=["small", "transformers"])
def policy(request, base_folder):
    return load_policy(base_folder, implementation=request.param)


@pytest.fixture
def wrapped(base_folder):
    return load_policy(base_folder, implementation="transformers")


def sequences() -> Sequences:
    random = torch.Generator().manual_seed(3)
    draw = lambda n: torch.randint(2, 76, (n,), generator=random)  # noqa: E731
    return Sequences([draw(n) for n in (4, 9, 5, 4)], [draw(n) for n in (6, 1, 11, 3)])


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


WIDTH = 64  # D of the smoke study's model


class LogitRows(TorchDispatchMode):
    """The most rows of logits, or of anything of their size, that are made inside, forward or backward."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple) else [result]:
            if isinstance(made, torch.Tensor) and made.ndim > 1 and made.shape[-1] == self.vocabulary:
                of_weights = made.shape[0] == WIDTH  # the head's, transposed
                self.rows = max(self.rows, 0 if of_weights else made.numel() // self.vocabulary)
        return result


def losses_in_chunks(policy, monkeypatch, chunk: int) -> tuple[list[torch.Tensor], int]:
    """Log-probs, entropy, the teacher's top k, the divergence, the gradient of a sum of them; rows of logits."""
    monkeypatch.setattr("hdpo.model.forward.LOGITS_CHUNK", chunk * 76)
    batch, longer = sequences(), sequences()
    longer = Sequences([prompt.repeat(2) for prompt in longer.prompts], longer.completions)
    policy.zero_grad()
    with torch.no_grad():
        teacher_hidden = completion_hidden(policy, longer)
    hidden = completion_hidden(policy, batch)
    with LogitRows(76) as seen:
        with torch.no_grad():
            logp, tokens = per_token(policy, lambda logits: teacher_top_k(logits, 8), teacher_hidden)
        found = [
            per_token(policy, token_logp, hidden, batch.tokens),
            per_token(policy, token_entropy, hidden),
            per_token(policy, jsd_k, hidden, logp, tokens),
        ]
        (found[0].sum() + 2 * found[1].square().sum() + 30 * found[2].sum()).backward()
    return [*found, logp, tokens, torch.cat([p.grad.flatten() for p in policy.parameters()])], seen.rows


@pytest.mark.parametrize("chunk", [1, 8, 20])
def test_chunks_of_logits_change_no_result_and_bound_what_exists(policy, monkeypatch, chunk):
    whole, rows = losses_in_chunks(policy, monkeypatch, 100)
    assert rows == 21  # all tokens of the batch at once
    parts, rows = losses_in_chunks(policy, monkeypatch, chunk)
    assert rows == chunk
    for a, b in zip(whole, parts, strict=True):
        assert a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(a.detach().abs().max()))


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


def test_micro_batches_cover_each_row_once_within_the_budget():
    batch = sequences()
    for budget in (1, 20, 34, 1000):
        groups = list(batch.micro_batches([0, 1, 3, 2], budget))
        assert sorted(row for group in groups for row in group) == [0, 1, 2, 3]
        for group in groups:
            longest = max(len(batch.prompts[i]) + len(batch.completions[i]) for i in group)
            assert len(group) == 1 or longest * len(group) <= budget
    assert list(batch.micro_batches([], 10)) == []


def test_token_index_finds_the_tokens_of_the_rows():
    batch = sequences()
    assert torch.equal(batch.tokens[batch.token_index([2, 0])], torch.cat([batch.completions[i] for i in (2, 0)]))


def test_distinct_rows_come_once_with_their_counts():
    """The same completion under another prompt is another sequence; order and first place are those of `rows`."""
    a, b, c = (torch.tensor(ids) for ids in ([3, 4], [3], [5]))
    batch = Sequences([a, a, b, a, b, a], [c, b, c, c, c, b])
    rows, counts = batch.distinct([5, 0, 2, 3, 4, 1])
    assert rows == [5, 0, 2] and counts == [2, 2, 2]
    rows, counts = batch.distinct([0, 1, 3])
    assert rows == [0, 1] and counts == [2, 1]
    rows, counts = batch.distinct([])
    assert rows == counts == []


def test_empty_prompt_is_refused(policy):
    with pytest.raises(ValueError, match="sequence 0: empty prompt"):
        completion_logits(policy, Sequences([torch.empty(0, dtype=torch.long)], [torch.tensor([3])]))


def test_entropy_and_logp_of_a_known_distribution():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert float(token_entropy(logits)) == pytest.approx(1.5 * math.log(2), rel=1e-6)
    assert float(token_logp(logits, torch.tensor([1]))) == pytest.approx(-2 * math.log(2), rel=1e-6)


class TestSampler:
    def prompts(self):
        return sequences().prompts

    def sampler(self, policy, **options):
        return Sampler(policy, eos_token_id=1, max_response_tokens=10, **options)

    def test_greedy_equals_transformers_generate(self, policy, reference):
        found = self.sampler(policy).sample(self.prompts(), 1, 0.0).sequences.completions
        for prompt, completion in zip(self.prompts(), found, strict=True):
            generated = reference.generate(
                input_ids=prompt[None],
                attention_mask=torch.ones_like(prompt)[None],
                max_new_tokens=10,
                do_sample=False,
                eos_token_id=1,
                pad_token_id=0,
            )
            assert torch.equal(generated[0, len(prompt) :], completion)

    def test_its_logp_and_entropy_are_the_trainers(self, policy):
        rollouts = self.sampler(policy).sample(self.prompts(), 6, 1.0, generator(0, "x"))
        with torch.no_grad():
            logits = completion_logits(policy, rollouts.sequences)
        assert torch.allclose(token_logp(logits, rollouts.sequences.tokens), rollouts.logp, atol=1e-4)
        assert torch.allclose(token_entropy(logits), rollouts.entropy, atol=1e-4)

    def test_responses_end_at_the_first_end_token_or_the_limit(self, policy):
        rollouts = self.sampler(policy).sample(self.prompts(), 64, 1.0, generator(0, "x"))
        ended = 0
        for completion in rollouts.sequences.completions:
            assert 1 <= len(completion) <= 10 and 1 not in completion[:-1]
            assert len(completion) == 10 or completion[-1] == 1
            ended += int(completion[-1] == 1)
        assert ended > 10  # or the test would not see the dropping of finished rows

    def test_same_generator_same_rollouts_other_seed_others(self, policy):
        draw = lambda seed: self.sampler(policy).sample(self.prompts(), 4, 1.0, generator(seed, "x"))  # noqa: E731
        assert torch.equal(draw(1).sequences.tokens, draw(1).sequences.tokens)
        assert draw(1).sequences.tokens.tolist() != draw(2).sequences.tokens.tolist()

    def test_frequencies_follow_the_distribution(self, policy, reference):
        """First tokens of 4000 rollouts against the model's own probabilities (chi-square, error rate 1e-4)."""
        from scipy.stats import chisquare

        prompt = self.prompts()[:1]
        rollouts = self.sampler(policy, rows_per_batch=4000).sample(prompt, 4000, 1.0, generator(5, "x"))
        first = torch.stack([completion[0] for completion in rollouts.sequences.completions])
        with torch.no_grad():
            probs = reference(input_ids=prompt[0][None]).logits[0, -1].softmax(-1)
        common = probs * 4000 >= 5
        counts = torch.bincount(first, minlength=76).float()
        observed = torch.cat([counts[common], counts[~common].sum()[None]]).double()
        expected = torch.cat([probs[common], probs[~common].sum()[None]]).double() * 4000
        assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4

    def test_draws_never_meet_a_token_without_probability(self):
        probs = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(20_000, -1)
        counts = torch.bincount(draw(probs, generator(0, "x")).flatten(), minlength=5)
        assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
        assert abs(int(counts[1]) - 10_000) < 4 * math.sqrt(20_000) / 2  # four standard deviations

    def test_no_prompts_give_no_rollouts(self, policy):
        rollouts = self.sampler(policy).sample([], 4, 1.0)
        assert len(rollouts.sequences) == 0 and len(rollouts.logp) == 0
