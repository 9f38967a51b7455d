"""Float32 weights behind a model that computes in another type (mixed precision training, arXiv:1710.03740).

bfloat16 keeps 8 bits of a number: at a learning rate of 1e-6 nearly every step of AdamW is less than half of a
weight's last bit, and adding it changes nothing. So the optimiser moves float32 weights, which checkpoints hold, and
the model computes and is saved with their rounding. The sums of gradients over micro-batches are float32 too.
"""

import torch
from torch import nn


def master_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name → float32 weight with a gradient of zeros, as the optimiser sees it.

    A float32 parameter is its own; any other gets a copy, and shares its gradient with it.
    """
    weights = {}
    for name, parameter in model.named_parameters():
        weights[name] = parameter
        if parameter.dtype != torch.float32:
            weights[name] = nn.Parameter(parameter.detach().float())
            parameter.grad_dtype = torch.float32  # what backward adds in
        parameter.grad = weights[name].grad = torch.zeros_like(weights[name])
    return weights


@torch.no_grad()
def round_into(model: nn.Module, weights: dict[str, nn.Parameter]) -> None:
    """Round changed `master_weights` into the model; where they are its own, there is nothing to do."""
    for parameter, weight in zip(model.parameters(), weights.values(), strict=True):
        if parameter is not weight:
            parameter.copy_(weight)
