"""Tokens per second of the kit's sampler beside transformers' `generate()` and, where it is installed, vLLM.

All draw G completions of the same prompts at temperature 1 from the whole vocabulary, with the same end token and
greatest length, in float32 on one thread. The end token and the tokens before it count.
"""

import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
import transformers
from torch import Tensor

from benchmarks.part import run_part
from benchmarks.timing import alternate, ratio
from benchmarks.workload import Size, plain_model, write_study
from hdpo.learning.trainer import Trainer
from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import Engine, VllmSampler
from hdpo.study.study import Study, load_study
from hdpo.system.rng import draw_prompts, generator

SIZES = ((Size("0.5M"), 9), (Size("30M", hidden=512, layers=9, heads=8), 3))  # and how many rounds
RUN_SEED = 1

Draw = Callable[[], list[int]]  # draws one batch; the lengths of its P·G completions


def measure(quick: bool) -> dict[str, Any]:
    """Tokens per second of each engine by size, and how many times as fast the kit is."""
    versions = {"transformers": transformers.__version__}
    sizes = [(SIZES[0][0], 2)] if quick else SIZES
    rows = [row for size, rounds in sizes for row in compare(size, rounds)]
    if find_spec("vllm"):
        import vllm  # not before the engine has set its environment

        versions["vllm"] = vllm.__version__
    return {"engines": versions, "rows": rows}


def compare(size: Size, rounds: int) -> list[dict[str, Any]]:
    """One row per engine, timed in turns: tokens per second, mean length, ratio of the kit's rate to its rate."""
    with tempfile.TemporaryDirectory() as name:
        study = load_study(write_study(size, Path(name)))
        trainer = Trainer(study.run(study.runs[0], RUN_SEED))
        problems = [trainer.problems[i] for i in draw_prompts(RUN_SEED, 0, size.prompts, len(trainer.problems))]
        prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(problem) for problem in problems])
        model = plain_model(study.base_path)
        engines = {
            "hdpo": draws(trainer.sampler, prompts, size.group),
            "generate()": generate(model, prompts, study, size.group),
            "generate(), static cache": generate(model, prompts, study, size.group, cache_implementation="static"),
        }
        if find_spec("vllm"):
            engine = Engine(study.base_path, study.model.dtype, study.model.max_length, study.hardware.rollout_memory)
            vllm = VllmSampler(trainer.policy, trainer.sampler.eos, trainer.sampler.max_tokens, engine)
            engines["vLLM"] = draws(vllm, prompts, size.group)
        lengths: dict[str, list[list[int]]] = {engine: [] for engine in engines}
        cases = {engine: lambda e=engine: lengths[e].append(engines[e]()) for engine in engines}
        seconds = alternate(cases, rounds)
    per_token = {
        engine: [spent / sum(drawn) for spent, drawn in zip(seconds[engine], lengths[engine][-rounds:], strict=True)]
        for engine in engines
    }
    return [
        {
            "size": size.name,
            "parameters": model.num_parameters(),
            "engine": engine,
            "completions": size.prompts * size.group,
            "mean_length": round(mean(length for drawn in lengths[engine] for length in drawn), 3),
            "tokens_per_s": round(1 / median(per_token[engine])),
            "rounds": [round(1 / spent) for spent in per_token[engine]],
            **ratio(per_token[engine], per_token["hdpo"]),
        }
        for engine in engines
    ]


def draws(sampler: Sampler | VllmSampler, prompts: list[Tensor], group: int) -> Draw:
    turn = count()

    def draw() -> list[int]:
        random = generator(RUN_SEED, "bench", next(turn))
        return sampler.sample(prompts, group, 1.0, random).sequences.lengths.tolist()

    return draw


def generate(model: torch.nn.Module, prompts: list[Tensor], study: Study, group: int, **more: Any) -> Draw:
    """transformers' `generate()` on all P·G rows at once; `more` goes to its generation config."""
    eos, pad, longest = model.config.eos_token_id, model.config.pad_token_id, max(map(len, prompts))
    rows = [torch.nn.functional.pad(prompt, (longest - len(prompt), 0), value=pad) for prompt in prompts]
    ids = torch.stack(rows).repeat_interleave(group, 0)  # [N, L]
    config = transformers.GenerationConfig(
        max_new_tokens=study.train.max_response_tokens,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=eos,
        pad_token_id=pad,
        **more,
    )

    def draw() -> list[int]:
        drawn = model.generate(input_ids=ids, attention_mask=(ids != pad).long(), generation_config=config)
        tokens = drawn[:, longest:]
        before_end = ((tokens == eos).cumsum(1) == 0).sum(1)  # [N]
        return (before_end + 1).clamp_max(tokens.shape[1]).tolist()

    return draw


if __name__ == "__main__":
    sys.exit(run_part("rollouts", measure))
