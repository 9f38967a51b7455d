"""vLLM's rollouts against transformers in float32, for real: `make test-vllm`. Skipped where vLLM is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.studies import ROOT

pytest.importorskip("vllm")

from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from hdpo.model.forward import completion_logits, token_logp
from hdpo.model.language_model import LanguageModel
from hdpo.model.loading import load_policy
from hdpo.model.small.decoder import Decoder
from hdpo.sampling.vllm_sampler import Engine, VllmSampler
from hdpo.system.errors import UserError
from hdpo.system.finite import NotFinite

VOCABULARY, EOS, LENGTH, RESPONSE = 80, 1, 512, 20
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": LENGTH,
    "eos_token_id": EOS,
    "pad_token_id": 0,
    "bos_token_id": None,
}
MODELS = {
    "qwen2, tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True)),
    "qwen2, untied": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=False)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)),
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory) -> Path:
    """A random model, sharpened so that its distributions differ by context, in the folder format."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    model = MODELS[request.param]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder) -> Engine:
    return Engine(str(folder), "float32", LENGTH, 0.4)


def load(folder: Path) -> LanguageModel:
    return load_policy(folder, implementation="small" if Decoder.reads(folder) else "transformers")


@pytest.fixture
def policy(folder, engine):
    engine.sleep()  # another model comes
    return load(folder)


@pytest.fixture
def sampler(policy, engine) -> VllmSampler:
    return VllmSampler(policy, EOS, RESPONSE, engine)


@pytest.fixture(scope="module")
def prompts() -> list[torch.Tensor]:
    """Short ones, and some of more than the 128 tokens from which vLLM keeps what it has read."""
    random = torch.Generator().manual_seed(1)
    return [torch.randint(2, VOCABULARY, (150 if i % 5 == 0 else 5 + i % 4,), generator=random) for i in range(15)]


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def greedy_of_transformers(model, prompts) -> list[list[int]]:
    return [
        model.generate(prompt[None], do_sample=False, max_new_tokens=RESPONSE, eos_token_id=EOS, pad_token_id=0)[
            0, len(prompt) :
        ].tolist()
        for prompt in prompts
    ]


def tokens(rollouts) -> list[list[int]]:
    return [completion.tolist() for completion in rollouts.sequences.completions]


def perturb(model, scale: float = 0.2) -> None:
    random = seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + scale * torch.randn(parameter.shape, generator=random))


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


def test_changed_weights_are_sampled_from_after_sleep(sampler, policy, prompts, tmp_path):
    """Head and body, tied and untied; on the same prompts, so keys and values of the old weights would show."""
    before = tokens(sampler.sample(prompts, 1, 0.0))
    sampler.sleep()
    perturb(policy)
    policy.save_pretrained(tmp_path)
    for path in (tmp_path, "again"):
        after = tokens(sampler.sample(prompts, 1, 0.0))
        if path == tmp_path:
            expected = greedy_of_transformers(AutoModelForCausalLM.from_pretrained(path), prompts)
        assert after == expected
    assert sum(old != new for old, new in zip(before, after, strict=True)) > len(prompts) / 2


def test_a_change_of_the_head_alone_arrives(sampler, policy, prompts, tmp_path):
    """A tied head is the embedding: on a CPU vLLM keeps a packed copy of it, which reloading leaves out."""
    before = tokens(sampler.sample(prompts, 1, 0.0))
    sampler.sleep()
    weights = dict(policy.weights())  # of both matrices the model's own memory
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    with torch.no_grad():
        head.copy_(head[torch.randperm(VOCABULARY, generator=seed())])
    policy.save_pretrained(tmp_path)
    expected = greedy_of_transformers(AutoModelForCausalLM.from_pretrained(tmp_path), prompts)
    assert tokens(sampler.sample(prompts, 1, 0.0)) == expected != before


def test_two_models_share_the_engine(sampler, policy, folder, prompts):
    """As policy and frozen teacher do: each samples from its own weights, whichever came last."""
    teacher = load(folder)
    perturb(policy)
    theirs = VllmSampler(teacher, EOS, RESPONSE, sampler.engine)
    reference = greedy_of_transformers(AutoModelForCausalLM.from_pretrained(folder), prompts)
    own = tokens(sampler.sample(prompts, 1, 0.0))
    assert tokens(theirs.sample(prompts, 1, 0.0)) == reference != own
    assert tokens(sampler.sample(prompts, 1, 0.0)) == own


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


def test_nan_weights_are_named(tmp_path, prompts):
    """On an engine of its own: keys and values that are NaN stay in its cache."""
    MODELS["qwen2, tied"]().save_pretrained(tmp_path)
    policy = load(tmp_path)
    sampler = VllmSampler(policy, EOS, RESPONSE, Engine(str(tmp_path), "float32", LENGTH, 0.4))
    with torch.no_grad():
        policy.embedding.fill_(float("nan"))
    with pytest.raises(NotFinite, match="log-probabilities of the sampled tokens"):
        sampler.sample(prompts, 1, 1.0, seed())


def test_heads_of_a_size_without_kernels_are_refused(tmp_path):
    Qwen2ForCausalLM(Qwen2Config(**SHAPE | {"num_attention_heads": 4})).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="attention heads of size 24, vLLM's CPU kernels know 32, 64"):
        Engine(str(tmp_path), "float32", LENGTH, 0.4)


def test_each_process_of_torchrun_has_an_engine_of_its_own(prompts, tmp_path):
    """Sharded weights are gathered; each process draws its half, and both return the whole."""
    folder = tmp_path / "model"
    torch.manual_seed(0)
    MODELS["llama, tied"]().save_pretrained(folder)
    torch.save(prompts, tmp_path / "prompts.pt")
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, folder, tmp_path], check=True, env=environment, timeout=240)
    expected = greedy_of_transformers(AutoModelForCausalLM.from_pretrained(folder), prompts)
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt") == expected
