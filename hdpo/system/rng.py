"""Randomness by name: every draw comes from a generator seeded by (run seed, purpose, step).

There is no generator state to save: a resumed run derives the generators of the uninterrupted one. More draws for one
purpose (privileged rollouts, say) never shift the draws for another, so all methods of a seed see the same prompts in
the same order.
"""

import hashlib

import torch


def generator(seed: int, purpose: str, step: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """The generator of one purpose in one step."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8]) >> 1)


def draw_prompts(seed: int, step: int, count: int, total: int, draw: int = 0) -> list[int]:
    """Indices of the `count` training problems of a step: epoch after epoch, each in its own random order.

    A further `draw` of the step (1, 2, …) takes others, in a random order of the step's own. Where all `total` have
    been drawn, it begins again. It changes no first draw, so problems may come again in another step.
    """
    indices: list[int] = []
    for position in range(step * count, (step + 1) * count):
        epoch, offset = divmod(position, total)
        if not indices or offset == 0:
            order = torch.randperm(total, generator=generator(seed, "epoch", epoch))
        indices.append(int(order[offset]))
    if draw == 0:
        return indices
    shuffled = torch.randperm(total, generator=generator(seed, "further draws", step)).tolist()
    others = sorted(shuffled, key=set(indices).__contains__)  # stable: those of the first draw come last
    return [others[i % total] for i in range((draw - 1) * count, draw * count)]
