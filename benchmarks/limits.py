"""How near a GRPO step comes to the processor's matrix rate, and where the rest of the time goes."""

import re
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.flops import Shape, shape_of, step_flops
from benchmarks.part import run_part, still_study
from benchmarks.phases import Phases
from benchmarks.timing import alternate, best
from hdpo.learning.trainer import Trainer
from hdpo.model.small.onednn import linear

# What operators do, by name; the first pattern that matches counts. Views, allocations, autograd's bookkeeping and
# functions written in Python move no data: they are "dispatch". Only attention multiplies in batches.
CATEGORIES = {
    "dispatch": r"^\w+$|autograd::|Backward|::(as_strided|slice|select|view|transpose|t|expand|unsqueeze|squeeze"
    r"|reshape|permute|empty|detach|to|_to_copy|narrow|split|chunk|unbind|alias|result_type|item)(_\w+)?$",
    "optimiser": r"adamw|_foreach|vector_norm|Optimizer|clip_grad",
    "attention": r"scaled_dot_product|flash|sdpa|bmm",
    "matrix products": r"::(mm|addmm|matmul|linear)|mkldnn|gemm",
    "softmax and sampling": r"softmax|multinomial|exponential|argmax|topk|logsumexp|sort|gather|cumsum|rand",
    "copies and indexing": r"copy|cat$|index|embedding|fill_|zero_|zeros|ones|repeat|stack|pad|scatter|nonzero|clone"
    r"|contiguous|arange|full|masked",
}
OTHERWISE = "elementwise and norms"


def measure(quick: bool) -> dict[str, Any]:
    """Efficiency of the small world's GRPO step against the measured matrix rate, phase by phase."""
    trainer = Trainer(still_study().run("grpo", 1))
    shape = shape_of(trainer.policy)
    work = Phases(trainer)
    sequences, group = work.rollouts.sequences, trainer.settings.rollouts_per_prompt
    lengths, trained = sequences.lengths.tolist(), (work.advantages != 0).flatten().tolist()
    flops = step_flops(shape, [len(prompt) for prompt in sequences.prompts[::group]], lengths, trained)
    decode_rows = sum(lengths) // max(lengths)  # unfinished rows, mean over the positions
    rows = {"decode": decode_rows, "update": trainer.settings.micro_batch_tokens}
    size = 512 if quick else 1536
    timed = {"rollout": work.sample, "update": work.update, "optimiser": work.idle_update, "step": work.step}
    observed = {  # rates and profiles, in turns with the phases that they explain
        "oneDNN": lambda: matrix_rate(size, linear),
        "default": lambda: matrix_rate(size),
        "bfloat16": lambda: matrix_rate(size, dtype=torch.bfloat16),
        "shapes": lambda: product_rates(shape, rows),
        "rollout": lambda: operator_seconds(work.sample),
        "update": lambda: operator_seconds(work.update),
    }
    seconds, typical = in_turns(timed, observed, rounds=3 if quick else 15)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    shapes, default = typical["shapes"], typical["default"]
    rate = max(default, typical["oneDNN"])  # the faster of PyTorch's two libraries is the limit
    rollout = flops["prefill"] + flops["decode"] + flops["sampling"]
    update = flops["forward"] + flops["backward"]
    network = median["update"] - median["optimiser"]
    records = [record["seconds"] for record in work.records]
    rest = statistics.median(record["total"] - record["rollout"] - record["update"] for record in records)
    phases = [
        _phase("rollout", rollout, median["rollout"], rate, shapes["decode"]),
        _phase("update, network", update, network, rate, shapes["update"]),
        _phase("update, optimiser", flops["optimiser"], median["optimiser"], rate, None),
        _phase("rewards, advantages, records", 0, rest, rate, None),
        _phase("step", rollout + update + flops["optimiser"], median["step"], rate, None),
    ]
    accounts = {
        name: account(
            typical[name],
            median[name],
            total - flops[f"{name} attention"],
            flops[f"{name} attention"],
            rate,
            own["rate"],
        )
        for name, total, own in (("rollout", rollout, shapes["decode"]), ("update", update, shapes["update"]))
    }
    return {
        "rows": phases,
        "rate": rate,
        "default_rate": default,
        "bfloat16_rate": typical["bfloat16"],
        "shapes": shapes,
        "flops": flops,
        "tokens": {"rollout": sum(lengths), "trained": sum(n for n, t in zip(lengths, trained, strict=True) if t)},
        "seconds": seconds,
        "accounts": accounts,
    }


def in_turns(
    timed: dict[str, Callable[[], object]], observed: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Wall seconds of the cases in `timed`, and `medians` of what the cases in `observed` return."""
    found: dict[str, list] = {name: [] for name in observed}
    looks = {f"look {name}": lambda name=name, look=look: found[name].append(look()) for name, look in observed.items()}
    seconds = alternate(timed | looks, rounds)
    return {name: seconds[name] for name in timed}, {name: medians(values) for name, values in found.items()}


def medians(values: list) -> Any:
    """The median of numbers; of dictionaries, key by key."""
    if isinstance(values[0], dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: medians([value[key] for value in values if key in value]) for key in keys}
    return statistics.median(values)


def matrix_rate(
    size: int, product: Callable[[Tensor, Tensor], Tensor] = torch.matmul, dtype: torch.dtype = torch.float32
) -> float:
    """FLOP/s of a square matrix product, the best of two."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / best(lambda: product(a, b), repeats=2)


def product_rates(shape: Shape, rows: dict[str, int]) -> dict[str, Any]:
    """FLOP/s that oneDNN reaches on the model's own matrices, with each phase's number of rows.

    `rate` is total FLOPs over total time of all layers and the head. An update also multiplies for the gradients of
    inputs and weights. Queries, keys and values count as one matrix, gate and up as another.
    """
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    matrices = {
        "query, key, value": (shape.hidden, queries + 2 * keys, shape.layers),
        "output": (queries, shape.hidden, shape.layers),
        "gate, up": (shape.hidden, 2 * shape.intermediate, shape.layers),
        "down": (shape.intermediate, shape.hidden, shape.layers),
        "head": (shape.hidden, shape.vocabulary, 1),
    }
    out: dict[str, Any] = {}
    for phase, count in rows.items():
        total_flops = total_seconds = 0.0
        rates = {}
        for name, (inner, outer, times) in matrices.items():
            x, weight, gradient = torch.randn(count, inner), torch.randn(outer, inner), torch.randn(count, outer)
            products: list[Callable[[], Tensor]] = [lambda x=x, w=weight: linear(x, w)]
            if phase == "update":
                products += [lambda g=gradient, w=weight: linear(g, w.T), lambda g=gradient, x=x: linear(g.T, x.T)]
            seconds = sum(best(product, 5) for product in products)
            flops = 2 * count * inner * outer * len(products)
            rates[name] = flops / seconds
            total_flops, total_seconds = total_flops + times * flops, total_seconds + times * seconds
        out[phase] = {"rows": count, "rate": total_flops / total_seconds, "matrices": rates}
    return out


def account(
    kernels: dict[str, float],
    wall: float,
    linear_flops: float,
    attention_flops: float,
    rate: float,
    own_rate: float,
) -> list[dict[str, Any]]:
    """Where the `wall` seconds of a phase go: first its products at the full matrix rate, then each loss.

    `own_rate` is the rate that the shapes of its linear layers allow. `kernels` holds the kernels' own seconds by
    category. They come from a profile, which hardly slows them. The rest of the *unprofiled* wall time is what no
    kernel accounts for: Python, dispatch, views, allocation.
    """
    kernels = dict(kernels)
    products, attention = kernels.pop("matrix products", 0.0), kernels.pop("attention", 0.0)
    kernels.pop("dispatch", None)
    parts = {
        "the work at the full matrix rate": (linear_flops + attention_flops) / rate,
        "matrices too small for that rate": linear_flops / own_rate - linear_flops / rate,
        "linear layers beyond that": products - linear_flops / own_rate,
        "attention's products beyond that rate": attention - attention_flops / rate,
        **dict(sorted(kernels.items(), key=lambda item: -item[1])),
        "Python, dispatch, views": wall - products - attention - sum(kernels.values()),
    }
    return [{"part": name, "seconds": value, "share": value / wall} for name, value in parts.items()]


def operator_seconds(run: Callable[[], object]) -> dict[str, float]:
    """Seconds inside the operators that `run` calls, without those that they call in turn, summed by category."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    seconds: dict[str, float] = {}
    for event in profiled.key_averages():
        name = category(event.key)
        seconds[name] = seconds.get(name, 0.0) + event.self_cpu_time_total / 1e6
    return seconds


def category(operator: str) -> str:
    """What an operator does, by its name."""
    return next((name for name, pattern in CATEGORIES.items() if re.search(pattern, operator)), OTHERWISE)


def _phase(name: str, flops: float, seconds: float, rate: float, shapes: dict[str, Any] | None) -> dict[str, Any]:
    own = flops / seconds / shapes["rate"] if shapes else None
    efficiency = flops / seconds / rate
    return {"phase": name, "flops": flops, "seconds": seconds, "efficiency": efficiency, "at_own_shapes": own}


if __name__ == "__main__":
    sys.exit(run_part("limits", measure))
