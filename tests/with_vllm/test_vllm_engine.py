"""Whose weights vLLM's engine holds: changed ones, two models', each process's. Skipped where vLLM is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("vllm")

from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from hdpo.sampling.vllm_sampler import Engine, VllmSampler
from hdpo.system.errors import UserError
from hdpo.system.finite import NotFinite
from helpers.studies import ROOT
from helpers.vllm_models import (
    EOS,
    LENGTH,
    MODELS,
    RESPONSE,
    SHAPE,
    VOCABULARY,
    greedy_of_transformers,
    load,
    perturb,
    seed,
    tokens,
)


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
