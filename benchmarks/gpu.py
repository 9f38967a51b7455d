"""One GPU: rollouts against its memory bandwidth, the update against its matrix rate, and HDPO's overhead.

Weights are random and responses have the full length, so that every number follows from the shape. Quick mode runs
the same code on a tiny shape, on a CPU if there is no GPU.
"""

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.flops import shape_of, step_flops
from benchmarks.part import run_part, still_study
from benchmarks.phases import NO_END, update
from benchmarks.side import STUDY
from benchmarks.timing import alternate, best
from hdpo.learning.teacher import Demonstrations
from hdpo.learning.trainer import Trainer
from hdpo.model.sequences import Sequences
from hdpo.plan.shape import QWEN_1_5B, Shape
from hdpo.sampling.sampler import Rollouts
from hdpo.study.schema import Model
from hdpo.study.study import Study, load_study
from hdpo.system.errors import UserError
from hdpo.system.rng import generator

FRACTIONS = (0.0, 0.25, 0.5)  # of prompts that are cliffs
PRIVILEGED = 4  # rollouts per cliff; half of them pass for correct


@dataclass(frozen=True)
class Setting:
    """A model shape and the lengths of a step."""

    name: str
    shape: Shape
    dtype: str
    prompts: int  # P
    group: int  # G
    prompt_tokens: int
    hint_tokens: int  # more in the privileged prompt
    response_tokens: int
    micro_batch_tokens: int


SMALL = Setting("small world", Shape(76, 96, 288, 4, 3, 1, 32, True, True), "float32", 16, 16, 8, 16, 24, 16384)
QWEN = Setting("Qwen2.5-1.5B", QWEN_1_5B, "bfloat16", 8, 16, 256, 256, 512, 4096)
TINY = Setting("tiny", Shape(512, 64, 128, 2, 4, 2, 16, True, True), "bfloat16", 4, 4, 6, 6, 8, 256)


def measure(quick: bool) -> dict[str, Any]:
    """Rollouts, update and overhead of the small world and of Qwen2.5-1.5B's shape on one GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not quick:
        raise UserError("no GPU here; with --quick this part runs a tiny shape on the CPU")
    size = 256 if quick else 8192
    rates = {"bfloat16_flops": matrix_rate(size, device), "bytes": copy_rate(2**22 if quick else 2**30, device)}
    settings = (TINY,) if quick else (SMALL, QWEN)
    return {"device": device, "rates": rates, "rows": [measure_setting(setting, rates, quick) for setting in settings]}


def measure_setting(setting: Setting, rates: dict[str, float], quick: bool) -> dict[str, Any]:
    """One shape: tokens per second and their bound, model-FLOP utilisation, peak memory, HDPO's overhead by cliffs."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(random_study(setting, Path(folder)).run("hdpo-drifting-0.1", 1))
    device, count, group = trainer.policy.device, setting.prompts, setting.group
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.sampler.eos = NO_END
    prompts = random_prompts(setting, count, setting.prompt_tokens)
    hinted = random_prompts(setting, count, setting.prompt_tokens + setting.hint_tokens)

    def sample(of: list[Tensor], rows: int) -> Rollouts:
        return trainer.sampler.sample(of, rows, 1.0, generator(1, "rollout", 0, device))

    rollouts = sample(prompts, group)
    cliffs = [round(fraction * count) for fraction in FRACTIONS]
    advantages, demonstrations = {}, {}
    for number in cliffs:
        advantages[number] = torch.tensor([1.0, -1.0]).repeat(count, group // 2)  # [P, G]
        advantages[number][:number] = 0
        if number:
            drawn = sample(hinted[:number], PRIVILEGED).sequences
            teacher = drawn.select(list(range(0, len(drawn), 2)))
            student = Sequences([prompts[i // PRIVILEGED] for i in range(0, len(drawn), 2)], teacher.completions)
            demonstrations[number] = Demonstrations(student, teacher, len(drawn), int(drawn.lengths.sum()))

    cases: dict[str, Callable[[], object]] = {"rollout": partial(sample, prompts, group)}
    for number in cliffs:
        plain = partial(update, trainer, rollouts, advantages[number])
        cases[f"update {number}"] = plain
        if number:
            cases[f"privileged {number}"] = partial(sample, hinted[:number], PRIVILEGED)
            cases[f"distilled update {number}"] = partial(plain, demonstrations[number])
    seconds = alternate({name: _synchronised(case, device) for name, case in cases.items()}, 2 if quick else 3)
    median = {name: statistics.median(values) for name, values in seconds.items()}

    shape, rows = shape_of(trainer.policy), count * group
    width = 2 if setting.dtype == "bfloat16" else 4
    bound = decode_bound(shape, rows, setting.prompt_tokens, setting.response_tokens, width, rates["bytes"])
    flops = step_flops(shape, [len(p) for p in prompts], rollouts.sequences.lengths.tolist(), [True] * rows)
    overhead = []
    for fraction, number in zip(FRACTIONS, cliffs, strict=True):
        plain_s = median["rollout"] + median[f"update {number}"]
        extra = [median.get(f"privileged {number}", 0.0), median.get(f"distilled update {number}", 0.0)]
        hdpo_s = median["rollout"] + sum(extra) if number else plain_s
        overhead.append({"fraction": fraction, "grpo_s": plain_s, "hdpo_s": hdpo_s, "ratio": hdpo_s / plain_s})
    return {
        "name": setting.name,
        "dtype": setting.dtype,
        "parameters": shape.parameters,
        "rows": rows,
        "tokens": len(rollouts.logp),
        "rollout_s": median["rollout"],
        "tokens_per_second": len(rollouts.logp) / median["rollout"],
        "bound_tokens_per_second": len(rollouts.logp) / bound,
        "update_s": median["update 0"],
        "mfu": (flops["forward"] + flops["backward"]) / median["update 0"] / rates["bfloat16_flops"],
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None,
        "overhead": overhead,
        "seconds": seconds,
    }


def decode_bound(shape: Shape, rows: int, prompt: int, response: int, width: int, bandwidth: float) -> float:
    """Seconds that reading alone takes: for every decoded position all weights and the rows' whole cache.

    `width` is bytes per value; `bandwidth` bytes per second. The first token comes from reading the prompt.
    """
    cached = sum(range(prompt + 1, prompt + response))  # positions that each row's passes read
    values = (response - 1) * shape.parameters * width + rows * cached * shape.kv_bytes(width)
    return values / bandwidth


def random_study(setting: Setting, folder: Path) -> Study:
    """The small world's study with a model of this shape, random weights, whose weights stand still."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    small, shape = load_study(STUDY), setting.shape
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=shape.vocabulary,
                hidden_size=shape.hidden,
                intermediate_size=shape.intermediate,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads,
                head_dim=shape.head_width,
                max_position_embeddings=setting.prompt_tokens + setting.hint_tokens + setting.response_tokens,
                tie_word_embeddings=shape.tied,
            )
        )
    model.to(getattr(torch, setting.dtype)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(Path(small.base_path) / name, folder / name)
    length = setting.prompt_tokens + setting.hint_tokens + setting.response_tokens
    study = small.model_copy(
        update={"model": Model(path=str(folder), dtype=setting.dtype, max_length=length), "pretrain": None}
    )
    return still_study(
        study,
        prompts_per_step=setting.prompts,
        rollouts_per_prompt=setting.group,
        max_response_tokens=setting.response_tokens,
        micro_batch_tokens=setting.micro_batch_tokens,
        log_gradient_norms=False,
    )


def random_prompts(setting: Setting, count: int, length: int) -> list[Tensor]:
    random = generator(1, f"prompts of {length}")
    return list(torch.randint(setting.shape.vocabulary, (count, length), generator=random))


def matrix_rate(size: int, device: str) -> float:
    """FLOP/s of a square bfloat16 product, the best of several."""
    a = torch.randn(size, size, device=device).bfloat16()
    return 2 * size**3 / best(_synchronised(lambda: a @ a, torch.device(device)), 10)


def copy_rate(size: int, device: str) -> float:
    """Bytes per second read and written by a copy of `size` bytes, the best of several."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / best(_synchronised(lambda: target.copy_(source), torch.device(device)), 10)


def _synchronised(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """`run` that returns once the GPU has finished."""

    def whole() -> None:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return whole


if __name__ == "__main__":
    sys.exit(run_part("gpu", measure))
