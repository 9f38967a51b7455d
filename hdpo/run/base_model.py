"""The small world's base model: supervised training from scratch on random chains, plain and privileged.

It stands in for the instruction-tuned checkpoint that the paper downloads: a policy that solves some problems,
misses others, and solves most of those when the same weights are shown a reference solution.
"""

import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from hdpo.learning.optimizer import AdamW
from hdpo.model.forward import completion_logits
from hdpo.model.loading import load_policy
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.study.schema import Hand, Pretrain
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import write_atomic, write_record
from hdpo.system.progress import progress
from hdpo.system.provenance import provenance
from hdpo.tasks.chains import draw_chain, in_hand, rewrite
from hdpo.tasks.countdown import build_tokenizer, hint_text, privileged_prompt, split_of, student_prompt

WARMUP_STEPS = 50
MICRO_BATCH_TOKENS = 1536  # another split rounds differently: the committed weights are of this one


def initial_model(out: Path, config: Pretrain, vocabulary: int, max_length: int, eos: int, pad: int) -> None:
    """Write a Qwen2 with transformers' random weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(config.seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=max_length,
            tie_word_embeddings=True,
            eos_token_id=eos,
            pad_token_id=pad,
            bos_token_id=None,
        )
    )
    model.save_pretrained(out)


def draw_example(rng: random.Random, config: Pretrain) -> tuple[str, str]:
    """A (prompt, response) pair on a problem of the training split only.

    Plain: the response is a random chain of the problem, or of another one where the size is astray. Privileged: the
    prompt shows the reference chain or its last step, the response is the chain rewritten, so that the hint is
    understood rather than copied.
    """
    kind = rng.random()
    privileged = kind < config.hint_share + config.answer_hint_share
    sizes, weights = zip(*(config.hint_mixture if privileged else config.mixture).items(), strict=True)
    size = rng.choices(sizes, weights)[0]
    while True:
        chain = draw_chain(rng, size)
        if split_of(chain.numbers, chain.target) == "train":
            break
        size = rng.choices(sizes, weights)[0]
    prompt = student_prompt(chain.numbers, chain.target)
    if not privileged and size in config.astray:
        strays = config.astray_share is None or rng.random() < config.astray_share
        chain = draw_chain(rng, size) if strays else chain
    if privileged:
        shown = in_hand(chain, rng.choice(get_args(Hand))) if config.hand else chain
        prompt = privileged_prompt(prompt, hint_text(shown, "solution" if kind < config.hint_share else "answer"))
    return prompt, in_hand(rewrite(rng, chain), config.hand).text() + " <eos>"


def train_base(study: Study, out: Path, threads: int = 1) -> None:
    """Train the base model and save it as a Hugging Face folder with tokenizer and provenance.

    Raises:
        UserError: the study has no `pretrain` section.
    """
    if study.pretrain is None:
        raise UserError(f"study {study.name}: pretrain is null, so there is no base model to train")
    torch.set_num_threads(threads)
    config, record, began = study.pretrain, provenance(), time.perf_counter()
    tokenizer: Any = build_tokenizer()  # transformers' types are wider than `hdpo.model.tokenizer` asks
    with tempfile.TemporaryDirectory() as name:
        ends = tokenizer.eos_token_id, tokenizer.pad_token_id
        initial_model(Path(name), config, len(tokenizer), study.model.max_length, *ends)
        model = load_policy(name, implementation=study.model.implementation).train()
    optimizer = AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01, fused=True)
    rng = random.Random(config.seed)
    bar = progress(range(config.steps), "base model")
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _cosine(step, config.steps)
        prompts, responses = zip(*(draw_example(rng, config) for _ in range(config.batch_size)), strict=True)
        batch = Sequences(encode(tokenizer, list(prompts)), encode(tokenizer, list(responses)))
        total = 0.0
        for rows in batch.micro_batches(list(range(len(batch))), MICRO_BATCH_TOKENS):
            part = batch.select(rows)
            logits, tokens = completion_logits(model, part), part.tokens.to(model.device)
            loss = nn.functional.cross_entropy(logits, tokens, reduction="sum")
            (loss / len(batch.tokens)).backward()
            total += loss.item() / len(batch.tokens)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{total:.3f}")
    record |= {
        "pretrain": config.model_dump(mode="json"),
        "pretrain_hash": study.pretrain_hash,
        "final_loss": round(total, 4),
        "seconds": round(time.perf_counter() - began, 1),
    }

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_record(folder / "provenance.json", record, list(folder.iterdir()))

    write_atomic(out, write)


def _cosine(step: int, steps: int) -> float:
    warmup = min(1.0, (step + 1) / min(WARMUP_STEPS, steps))
    return warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
