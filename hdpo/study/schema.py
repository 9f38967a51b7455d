"""The sections of a study file: every key, its type, its range, and what cannot go together."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Natural = Annotated[int, Field(ge=0, le=2**63 - 1)]  # seeds among them: 64 bits for NumPy and torch
Hand = Literal["larger", "smaller"]  # which operand of + and * comes first
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


def _weights(mixture: dict[int, float]) -> dict[int, float]:
    if not mixture or any(weight < 0 or not math.isfinite(weight) for weight in mixture.values()):
        raise ValueError("weights must be finite and not negative")
    if abs(sum(mixture.values()) - 1) > 1e-9:
        raise ValueError(f"weights must sum to 1, they sum to {sum(mixture.values()):g}")
    if not set(mixture) <= {2, 3, 4, 5}:
        raise ValueError("keys must be problem sizes (how many numbers) from 2, 3, 4, 5")
    return mixture


Mixture = Annotated[dict[int, float], AfterValidator(_weights)]


def _place(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable() or set(text) & set("{}"):
        raise ValueError("must be a folder or a hub name, printable and without braces")  # {x}: Snakemake's wildcard
    if len(text.encode()) > 1000 or any(len(part.encode()) > 200 for part in text.split("/")):
        raise ValueError("is longer than a path may be (1,000 bytes, 200 a part)")  # room for what is joined to it
    return text


Place = Annotated[str, AfterValidator(_place)]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("give each once")
    return names


Tracker = Literal["tensorboard", "wandb", "trackio"]
Trackers = Annotated[tuple[Tracker, ...], AfterValidator(_each_once)]  # where training reports beside its own files


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(Section):
    path: Place | None  # a folder or a hub name; null: the `base` stage trains it
    revision: Place | None = None  # the hub's commit or tag; null: its newest
    implementation: Literal["transformers", "small"] = "transformers"  # small: the kit's Qwen2, float32 on a CPU
    dtype: Literal["float32", "bfloat16"]  # of computing; the weights that the optimiser moves are float32
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"  # flash: sequences packed without padding
    max_length: Count  # prompt and response together, tokens


class Pretrain(Section):
    """Supervised training of the small world's base model, the stand-in for a downloaded checkpoint."""

    seed: Natural
    hidden_size: Count
    intermediate_size: Count
    layers: Count
    heads: Count
    kv_heads: Count  # groups of query heads, each with one head of keys and values
    steps: Count
    batch_size: Count
    learning_rate: Positive  # peak of a cosine schedule
    mixture: Mixture  # of problem sizes in plain sequences
    hint_mixture: Mixture  # in privileged ones
    hint_share: Share  # sequences that see the whole reference chain
    answer_hint_share: Share  # sequences that see its last step only
    astray: tuple[int, ...] = ()  # sizes whose plain sequences carry another problem's chain: the form, not the way
    astray_share: Share | None = None  # of these sequences; null: all. The rest carry their own chain
    hand: Hand | None = None  # in which the base writes; it then reads hints in both. null: either order

    @model_validator(mode="after")
    def _shares(self) -> "Pretrain":
        if self.hint_share + self.answer_hint_share >= 1:
            raise ValueError("hint_share + answer_hint_share must stay below 1: the student needs plain prompts")
        if self.hidden_size % (2 * self.heads):
            raise ValueError("hidden_size must be an even multiple of heads (rotary embedding)")
        if self.heads % self.kv_heads:
            raise ValueError("heads must be a multiple of kv_heads")
        return self


class Optimizer(Section):
    learning_rate: Positive
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.01
    max_grad_norm: Positive = 1.0
    warmup_steps: Natural  # linear from warmup_start × learning_rate, then constant
    warmup_start: Share = 0.1


class Train(Section):
    steps: Count
    prompts_per_step: Count  # P
    rollouts_per_prompt: Annotated[int, Field(ge=2)]  # G
    max_response_tokens: Count
    temperature: Positive = 1.0
    backend: Literal["transformers", "vllm"] = "transformers"
    optimizer: Optimizer
    updates_per_batch: Count = 1  # optimiser steps on one batch of rollouts
    micro_batch_tokens: Count  # padded tokens per forward pass: memory, not mathematics
    gradient_checkpointing: bool = False  # keep each layer's input only and compute the rest twice: memory again
    checkpoint_every: Count  # steps
    log_gradient_norms: bool = False  # the norm of each loss term's gradient


class Evaluate(Section):
    every: Count  # steps between evaluations during training
    samples: Count  # n per problem during training
    test_samples: Count  # n per problem at the end
    conversion_samples: Count | None = None  # tries at the end on problems that the base never solves in as many
    ks: tuple[Count, ...] = (1, 4, 8)
    temperatures: tuple[Positive, ...] = ()  # at which the final weights are tested too, beside the training's

    @model_validator(mode="after")
    def _enough(self) -> "Evaluate":
        if not self.ks or len(set(self.ks)) != len(self.ks):
            raise ValueError("ks: give at least one, each once")
        for name in ("samples", "test_samples"):
            if max(self.ks) > getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)}, but pass@{max(self.ks)} needs that many samples")
        if self.conversion_samples is not None and self.conversion_samples < self.test_samples:
            raise ValueError(f"conversion_samples is below test_samples, {self.test_samples}: give at least as many")
        return self


class Hardware(Section):
    threads: Annotated[int, Field(ge=1, le=1024)] = 1  # CPU threads of a job, shared by its processes
    gpus: Natural = 0  # GPUs of a job, one process each
    processes: Annotated[int, Field(ge=1, le=1024)] = 1  # of a job without GPUs
    sharding: Literal["shard", "replicate"] = "shard"  # weights and AdamW's state, where there are several processes
    memory_mb: Count = 2000
    rollout_memory: Annotated[float, Field(gt=0, lt=1)] = 0.4  # share of a GPU's memory that vLLM may take
    offload_teacher: bool = False  # a frozen teacher waits in the CPU's memory while it is not asked
    minutes: Count = 240  # time limit of a job on a cluster; training goes on from its checkpoint

    @model_validator(mode="after")
    def _one_count(self) -> "Hardware":
        if self.gpus and self.processes > 1:
            raise ValueError(f"processes: with gpus there is one for each; leave it out, gpus is {self.gpus}")
        return self

    @property
    def ranks(self) -> int:
        """Processes of a training or test job."""
        return self.gpus or self.processes

    @property
    def threads_per_rank(self) -> int:
        return max(1, self.threads // self.ranks)


class Repeat(Section):
    """Runs of a published study that are trained again over their first steps, to compare them with the published."""

    runs: tuple[str, ...]
    seeds: Count  # the study's first ones
    steps: Count


def as_tuples(value: Any) -> Any:
    """YAML lists as tuples, which strict validation of frozen sections asks for."""
    if isinstance(value, dict):
        return {key: as_tuples(item) for key, item in value.items()}
    return tuple(as_tuples(item) for item in value) if isinstance(value, list) else value


def first_problem(error: ValidationError) -> str:
    """The first mistake as one line: key, what is wrong, what was found."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part)[:60] for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key; remove it or correct its spelling"
    elif first["type"] != "value_error" and not isinstance(first["input"], dict):
        message += f", got {str(first['input'])[:60]!r}"
        if first["type"] == "float_type" and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", str(first["input"])):
            message += "; YAML takes 1e-6 for text, write 1.0e-6"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return (f"{key}: " if key else "") + " ".join(message.split()) + more
