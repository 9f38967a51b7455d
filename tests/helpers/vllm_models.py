"""Small random models for vLLM's tests, and what transformers draws from them."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from hdpo.model.language_model import LanguageModel
from hdpo.model.loading import load_policy
from hdpo.model.small.decoder import Decoder

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


def load(folder: Path) -> LanguageModel:
    return load_policy(folder, implementation="small" if Decoder.reads(folder) else "transformers")


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
