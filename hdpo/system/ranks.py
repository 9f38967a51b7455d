"""Several processes as one trainer: shares of the work, gathered results, summed gradients, sharded weights.

Every rank runs the same program on the same global lists. It does the expensive work (sampling, scoring, forward and
backward passes) for its `share` only, and `gather` gives the results to all. So the cliffs, token counts and metrics
of a step are global wherever you read them. Without `start` there is one rank, and its share is the whole.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hdpo.system.errors import UserError
from hdpo.system.launch import RENDEZVOUS

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

T = TypeVar("T")

PATIENCE = timedelta(hours=2)  # how long ranks wait for the slowest, or for rank 0 to write a checkpoint


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
    """This rank's part of `items`, or that of rank `of`. Parts keep the order; their sizes differ by one at most."""
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
    """`gather` for one whole number. It is cheap, because the sampler calls it at every token."""
    if size() == 1:
        return [mine]
    everyone = [torch.zeros(1, dtype=torch.long) for _ in range(size())]
    dist.all_gather(everyone, torch.tensor([mine]))
    return torch.cat(everyone).tolist()


def from_all(function: Callable[[], T]) -> list[T]:
    """Call `function` on each rank and give all results to every rank. If one rank fails, all raise its error."""
    if size() == 1:
        return [function()]
    mine: tuple[Any, UserError | OSError | None]
    try:
        mine = function(), None
    except (UserError, OSError) as error:
        mine = None, error
    everyone: list[Any] = gather(mine)
    for _, failure in everyone:
        if failure is not None:
            raise failure
    return [result for result, _ in everyone]


def from_main(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 and give its result to every rank. If it fails, all raise its error."""
    found: list[Any] = from_all(lambda: function() if is_main() else None)
    return found[0]


def sum_gradients(gradients: Iterable[Tensor]) -> None:
    """Add up the ranks' gradients in place. The backward pass has already summed those of shards."""
    if size() > 1:
        for gradient in gradients:
            if not hasattr(gradient, "full_tensor"):
                dist.all_reduce(gradient)


def shard(model: nn.Module, is_trained: bool) -> None:
    """Spread the weights of every decoder layer, the embedding, the last norm and the head over the ranks (FSDP2).

    Shards of a trained model are float32 whatever it computes in: they are the optimiser's weights. Gradients are
    summed in float32. Each forward pass gathers a layer's weights while the layer runs, so all ranks must make the same
    number of passes. The root keeps its weights from forward to backward, because the head is called chunk by chunk
    outside of `forward`.

    Args:
        model: a `hdpo.model.language_model.LanguageModel`.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    precision = MixedPrecisionPolicy(next(model.parameters()).dtype, reduce_dtype=torch.float32)
    if is_trained:
        model.float()
    mesh = init_device_mesh(next(model.parameters()).device.type, (size(),))
    for layer in cast(Iterable[nn.Module], model.layers):
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    for module in _shards(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def is_sharded(model: nn.Module) -> "TypeGuard[FSDPModule]":
    """Whether `shard` has spread this module's weights over the ranks."""
    return hasattr(model, "unshard")


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Hold all weights on every rank while inside, so that each rank can make as many forward passes as it likes."""
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


def _shards(model: nn.Module) -> "list[FSDPModule]":
    return [module for module in model.modules() if is_sharded(module)]


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor of which every rank holds a shard; return any other tensor as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def collect(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Whole tensors by name on rank 0, {} on the others. Shards are gathered one at a time into CPU memory."""
    found = {}
    for name, tensor in tensors:
        sharded = hasattr(tensor, "full_tensor")
        tensor = whole(tensor.detach())
        if is_main():
            found[name] = (tensor.cpu() if sharded else tensor).contiguous()
    return found


def place(full: Tensor, like: Any) -> Tensor:
    """Put a whole tensor on the device of `like`. If `like` is a shard, return this rank's shard."""
    full = full.to(like.device)
    if not hasattr(like, "full_tensor"):
        return full
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)
