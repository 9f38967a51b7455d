"""Peak memory of the losses over a vocabulary of 151,936, forward and backward: it grows with the chunk alone."""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

import hdpo.model.forward
from benchmarks.growth import peak_memory, power_law, reset_peak
from benchmarks.part import run_part
from hdpo.learning.jsd import jsd_k, teacher_top_k
from hdpo.model.forward import per_token, token_logp
from hdpo.model.small.decoder import Decoder
from hdpo.system.allocator import keep_freed_memory

VOCABULARY, WIDTH, TOP_K = 151_936, 64, 64  # Qwen2.5's vocabulary; a narrow model, so that only logits are large
TOKENS, CHUNKS = (128, 256, 512, 1024), (64, 128, 256, 512)
CHUNK = 128  # of the series in which tokens grow
# Series: what grows, and points (tokens, chunk).
SERIES = {
    "tokens, one chunk": [(tokens, tokens) for tokens in TOKENS[:3]],
    f"tokens, chunks of {CHUNK}": [(tokens, CHUNK) for tokens in TOKENS],
    f"chunk, {TOKENS[2]} tokens": [(TOKENS[2], chunk) for chunk in CHUNKS],
}


def measure(quick: bool) -> dict[str, Any]:
    """Peak resident memory of policy loss and JSD against tokens and chunk, with exponents fitted to both."""
    rows, fits = [], []
    for loss in LOSSES:
        for series, points in SERIES.items():
            found = []
            for tokens, chunk in points[: 2 if quick else None]:
                with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:  # each point its own process
                    peak = pool.submit(peak_of, loss, tokens, chunk).result()
                found.append({"loss": loss, "series": series, "tokens": tokens, "chunk": chunk, "peak_mb": peak})
            rows += found
            sizes = [row["chunk" if series.startswith("chunk") else "tokens"] for row in found]
            if None not in (peaks := [row["peak_mb"] for row in found]):
                fits.append({"loss": loss, "series": series} | power_law(sizes, peaks))
    return {"vocabulary": VOCABULARY, "rows": rows, "fits": fits}


def peak_of(loss: str, tokens: int, chunk: int) -> float | None:
    """Peak MB of one loss and its gradient above the idle process, in which the weights' gradient is allocated.

    Large pieces go back to the system here. So the peak is what must exist at one time, without what the allocator
    would keep.
    """
    keep_freed_memory(largest=2**20)
    hdpo.model.forward.LOGITS_CHUNK = chunk * VOCABULARY
    shape = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "vocab_size": VOCABULARY, "num_hidden_layers": 0}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}
    model = Decoder(shape | heads | {"max_position_embeddings": 2, "rope_parameters": {"rope_theta": 1e4}})
    torch.manual_seed(0)
    torch.nn.init.normal_(model.embedding)
    model.embedding.grad = torch.zeros_like(model.embedding)
    hidden = torch.randn(2, tokens, WIDTH, requires_grad=True)
    idle = reset_peak()
    LOSSES[loss](model, hidden).sum().backward()
    peak = peak_memory()
    return None if peak is None or idle is None else max(peak - idle, 0.1)  # its logarithm is fitted


def policy_loss(model: Decoder, hidden: Tensor) -> Tensor:
    return per_token(model, token_logp, hidden[0], torch.arange(hidden.shape[1]))


def jsd(model: Decoder, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        target = per_token(model, partial(teacher_top_k, k=TOP_K), hidden[1])
    return per_token(model, jsd_k, hidden[0], *target)


LOSSES: dict[str, Callable[[Decoder, Tensor], Tensor]] = {"policy loss": policy_loss, "JSD": jsd}

if __name__ == "__main__":
    sys.exit(run_part("memory", measure))
