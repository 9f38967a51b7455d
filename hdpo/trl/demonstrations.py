"""Demonstrations, the paper's set T, and the divergence of the student from the teacher on them."""

from collections import Counter
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from hdpo.learning.jsd import jsd_k, teacher_top_k

LOGITS_CHUNK = 2**27  # logits that a divergence looks at in one piece; of more, backward computes the pieces again


class Demonstration(NamedTuple):
    """A privileged rollout with R = 1, as token ids under the student's prompt x and the teacher's x ⊕ y*."""

    student: tuple[int, ...]
    teacher: tuple[int, ...]
    completion: tuple[int, ...]


Batch = list[tuple[Demonstration, int]]  # each with the number of equal ones that it stands for
NOTHING: Batch = [(Demonstration((0,), (0,), (0,)), 0)]  # a forward pass that adds 0 to the loss


def deal(found: list[Demonstration], steps: int, rows: int, rank: int, size: int, equally: bool) -> list[list[Batch]]:
    """The batches of process `rank` of `size`, of at most `rows` demonstrations, for each of `steps` micro-batches.

    Equal demonstrations go through the network once. With `equally`, as sharded weights need it, every process makes
    the same number of forward passes, if need be with `NOTHING`.
    """
    distinct = list(Counter(found).items())
    own = distinct[rank::size]
    batches = [own[i : i + rows] for i in range(0, len(own), rows)]
    if equally:
        most = -(-len(distinct[::size]) // rows)
        batches += [NOTHING] * (most - len(batches))
    return [batches[i::steps] for i in range(steps)]


def divergence(
    student: nn.Module,
    teacher: AbstractContextManager[nn.Module],
    batch: Batch,
    device: torch.device,
    top_k: int,
    tail: str,
    pad_token_id: int,
) -> Tensor:
    """Σ JSD_k over the tokens of a batch, in nats; the gradient flows into the student only.

    Args:
        teacher: the model to ask inside this context.
    """
    prompts, shown, completions = ([getattr(one, name) for one, _ in batch] for name in Demonstration._fields)
    with torch.no_grad(), teacher as model:
        logits = completion_logits(model, shown, completions, device, pad_token_id)
        logp, tokens = teacher_top_k(logits, top_k)  # [M, K]
    logits = completion_logits(student, prompts, completions, device, pad_token_id)  # [M, V]
    chunks = [part.split(max(1, LOGITS_CHUNK // logits.shape[-1])) for part in (logits, logp, tokens)]
    jsd = partial(jsd_k, tail=tail)
    if len(chunks[0]) > 1:
        jsd = partial(checkpoint, jsd, use_reentrant=False)
    values = torch.cat([jsd(*chunk) for chunk in zip(*chunks, strict=True)])  # [M]
    counts = torch.tensor([count for one, count in batch for _ in one.completion], device=values.device)
    return (values * counts).sum()


def completion_logits(
    model: nn.Module,
    prompts: list[tuple[int, ...]],
    completions: list[tuple[int, ...]],
    device: torch.device,
    pad_token_id: int,
) -> Tensor:
    """Logits that predict each completion token, in float32, [M, V], by one forward pass of a model of transformers.

    Rows are padded on the right only, so every model counts positions right. Temperature plays no part.
    """
    rows = [torch.tensor(x + y, device=device) for x, y in zip(prompts, completions, strict=True)]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad_token_id)  # [N, L]
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    keep = ids.shape[1] - min(map(len, prompts)) + 1  # from the first position that predicts a completion token
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=keep).logits[:, -keep:]
    parts = []
    for row, x, y in zip(logits, prompts, completions, strict=True):
        first = len(x) - 1 - (ids.shape[1] - keep)
        parts.append(row[first : first + len(y)])
    return torch.cat(parts).float()
