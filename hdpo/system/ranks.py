"""Several processes as one trainer: whose work is what, everybody's results, sums over all, weights in shards.

Every rank runs the same program on the same global lists. What is dear (sampling, scoring, forward and backward
passes) it does for its `share` only, and `gather` makes the results everybody's: so the cliffs, token counts and
metrics of a step are global wherever they are read. Without `start` there is one rank, and every share is the whole.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hdpo.system.errors import UserError
from hdpo.system.launch import RENDEZVOUS

T = TypeVar("T")

PATIENCE = timedelta(hours=2)  # for the slowest rank, and for rank 0 while it writes a checkpoint


def start(threads: int, on_gpu: bool) -> None:
    """Join the other ranks, if `hdpo.system.launch` or torchrun started this process as one of several.

    Args:
        threads: CPU threads of this rank.
        on_gpu: whether each rank computes on the GPU of its number.
    """
    if "LOCAL_RANK" not in os.environ or dist.is_initialized():
        return
    torch.set_num_threads(threads)
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        init_method=f"file://{os.environ[RENDEZVOUS]}" if RENDEZVOUS in os.environ else "env://",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=PATIENCE,
    )


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the one rank that prints and writes."""
    return rank() == 0


def share(items: Sequence[T], of: int | None = None) -> Sequence[T]:
    """The part of `items` that is this rank's, or that of rank `of`: in order, as large as any other's up to one."""
    of, count = rank() if of is None else of, size()
    return items[len(items) * of // count : len(items) * (of + 1) // count]


def gather(mine: T) -> list[T]:
    """Every rank's `mine`, on every rank, in rank order."""
    if size() == 1:
        return [mine]
    everyone: list[Any] = [None] * size()
    dist.all_gather_object(everyone, mine)
    return everyone


def gather_count(mine: int) -> list[int]:
    """`gather` for one whole number, as cheap as can be: the sampler calls it at every token."""
    if size() == 1:
        return [mine]
    everyone = [torch.zeros(1, dtype=torch.long) for _ in range(size())]
    dist.all_gather(everyone, torch.tensor([mine]))
    return torch.cat(everyone).tolist()


def from_all(function: Callable[[], T]) -> list[T]:
    """What `function` returns on each rank, on every rank; an error of one is raised by all."""
    if size() == 1:
        return [function()]
    try:
        mine = function(), None
    except (UserError, OSError) as error:
        mine = None, error
    everyone = gather(mine)
    for _, error in everyone:
        if error is not None:
            raise error
    return [result for result, _ in everyone]


def from_main(function: Callable[[], T]) -> T:
    """What `function` returns on rank 0, on every rank, which wait for it; its error is raised by all."""
    return from_all(lambda: function() if is_main() else None)[0]


def sum_gradients(gradients: Iterable[Tensor]) -> None:
    """Add up the ranks' gradients in place; those of shards have been, in the backward pass."""
    if size() > 1:
        for gradient in gradients:
            if not hasattr(gradient, "full_tensor"):
                dist.all_reduce(gradient)


def shard(model: nn.Module, is_trained: bool) -> None:
    """Spread every decoder layer's weights over the ranks, and the embedding, last norm and head (FSDP2).

    If it is trained, the shards are float32 whatever it computes in: the optimiser's weights. Gradients come back as
    float32 sums. Each forward pass gathers a layer's weights while the layer runs, so all ranks must make equally many
    passes. The weights of the root stay gathered from forward to backward, because the head is called outside of
    `forward`, chunk by chunk.

    Args:
        model: a `hdpo.model.language_model.LanguageModel`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    precision = MixedPrecisionPolicy(next(model.parameters()).dtype, reduce_dtype=torch.float32)
    if is_trained:
        model.float()
    how = {"mesh": init_device_mesh(next(model.parameters()).device.type, (size(),)), "mp_policy": precision}
    for layer in cast(Iterable[nn.Module], model.layers):
        fully_shard(layer, **how)
    fully_shard(model, **how)
    for module in _shards(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def is_sharded(model: nn.Module) -> bool:
    return hasattr(model, "unshard")


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """All weights on every rank while inside: forward passes need no other rank, as many as one likes to make."""
    shards = _shards(model)
    for module in shards:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in shards:
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


def _shards(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if is_sharded(module)]


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which every rank holds a shard, gathered; any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def collect(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Whole tensors by name, on rank 0, in its CPU's memory if they were shards; one at a time, {} on the others."""
    found = {}
    for name, tensor in tensors:
        sharded = hasattr(tensor, "full_tensor")
        tensor = whole(tensor.detach())
        if is_main():
            found[name] = (tensor.cpu() if sharded else tensor).contiguous()
    return found


def place(full: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is: on its device, and this rank's shard of it if `like` is one."""
    full = full.to(like.device)
    if not hasattr(like, "full_tensor"):
        return full
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)
