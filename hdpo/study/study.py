"""A study: one YAML file per scale, validated whole, resolved into one identity per run."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from hdpo.study.plain_yaml import read_yaml
from hdpo.study.schema import (
    Countdown,
    Distill,
    Evaluate,
    Gsm8k,
    Hardware,
    MathTask,
    Model,
    Name,
    Natural,
    NonNegative,
    OpenMathInstruct2,
    Pretrain,
    Section,
    Sweep,
    Train,
    as_tuples,
    first_problem,
)
from hdpo.study.sources import is_local, read_files
from hdpo.system.errors import UserError
from hdpo.system.files import json_sha256, sha256

BASE_RUN = "base"  # the name of the untrained policy among runs; it has one "seed", 0


class Study(Section):
    """Everything one scale needs. `load_study` reads it; `Study.run` resolves one training run."""

    name: Name  # results go to results/<name>/
    seeds: tuple[Natural, ...]
    sweep: Sweep
    task: Countdown | OpenMathInstruct2 | Gsm8k = Field(discriminator="name")
    model: Model
    pretrain: Pretrain | None
    train: Train
    distill: Distill
    evaluate: Evaluate
    hardware: Hardware = Hardware()

    @model_validator(mode="after")
    def _whole(self) -> "Study":
        if self.name == "reference":
            raise ValueError("name: results/reference/ holds the committed results; choose another")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: give at least one, each once")
        if self.model.path is None and self.pretrain is None:
            raise ValueError("model.path is null, so pretrain must say how to train the base model")
        if self.model.revision is not None and self.base_is_local:
            raise ValueError("model.revision is a commit or tag of the hub, but model.path is no name there")
        if isinstance(self.task, MathTask) and self.task.revision is not None and is_local(self.task):
            raise ValueError("task.revision is a commit or tag of the hub, but task.path is a place here")
        if self.train.prompts_per_step > self.task.problems.train:
            raise ValueError("train.prompts_per_step is larger than task.problems.train")
        if self.train.max_response_tokens >= self.model.max_length:
            raise ValueError("train.max_response_tokens must be smaller than model.max_length")
        if self.train.prompts_per_step % self.hardware.ranks:
            key = "gpus" if self.hardware.gpus else "processes"
            raise ValueError(
                f"hardware.{key} is {self.hardware.ranks}, which must divide train.prompts_per_step,"
                f" {self.train.prompts_per_step}"
            )
        if self.model.attention == "flash_attention_2" and (
            self.model.dtype != "bfloat16" or self.train.backend != "vllm"
        ):
            raise ValueError("model.attention: flash_attention_2 wants model.dtype bfloat16 and train.backend vllm")
        return self

    @property
    def runs(self) -> list[str]:
        """Names of the study's runs: the baseline, then HDPO by teacher and λ."""
        hdpo = [
            f"hdpo-{teacher}-{weight:g}" for teacher in self.sweep.teachers for weight in self.sweep.distill_weights
        ]
        return ["grpo", *hdpo]

    @property
    def root(self) -> Path:
        return Path("results") / self.name

    @property
    def built_base(self) -> Path:
        """Where the `base` stage puts the model that it trains."""
        return self.root / "base"

    @property
    def base_path(self) -> str:
        """The base model of every run: as configured, or the one that the `base` stage trains."""
        return self.model.path or str(self.built_base)

    @property
    def base_is_local(self) -> bool:
        """Whether the base model is a folder here rather than a name on the hub."""
        path = self.model.path
        return path is None or path.startswith(("results/", "./", "../", "/")) or Path(path).is_dir()

    @property
    def base_weights(self) -> str | None:
        """Hash of a local base model's weights, so that another model under the same name is another run.

        None for a name on the hub, and for a base model that this study trains (its config says what it is).
        """
        if self.model.path is None or not self.base_is_local:
            return None
        return weights_hash(Path(self.model.path).absolute())

    @property
    def task_files(self) -> str | None:
        """Hash of the templates and local data that a math task reads; None for a task that reads no file."""
        if isinstance(self.task, Countdown):
            return None
        return files_hash(read_files(self.task))

    @property
    def identity(self) -> str:
        """Hash of the whole study file as resolved."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def base_hash(self) -> str:
        """Identity of the base model's evaluation: its weights, or the config that trains them."""
        known = [self.base_path, self.base_weights, self.pretrain_hash if self.model.path is None else None]
        return content_hash(known if self.model.revision is None else [*known, self.model.revision])

    @property
    def pretrain_hash(self) -> str:
        return content_hash(self.pretrain.model_dump(mode="json") if self.pretrain else None)

    def run(self, name: str, seed: int) -> "Run":
        """Resolve one run.

        Raises:
            UserError: `name` is neither `grpo` nor `hdpo-<drifting|frozen>-<λ>`, or the seed is negative.
        """
        match = re.fullmatch(r"grpo|hdpo-(drifting|frozen)-(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
        if match is None:
            raise UserError(f"run {name!r}: expected grpo or hdpo-<drifting|frozen>-<λ>, as in hdpo-drifting-0.1")
        try:
            return Run(study=self, name=name, seed=seed, teacher=match[1], distill_weight=float(match[2] or 0))
        except ValidationError as error:
            raise UserError(f"run {name!r}, seed {seed}: {first_problem(error)}") from error


class Run(Section):
    """One training run: the study plus method and seed. Its hash covers exactly what can change its weights."""

    study: Study
    name: str
    seed: Natural
    teacher: Literal["drifting", "frozen"] | None
    distill_weight: NonNegative  # λ

    @property
    def resolved(self) -> dict[str, Any]:
        """What decides the run's weights and its evaluations during training; nothing else."""
        study = self.study.model_dump(mode="json")
        kept = {key: study[key] for key in ("task", "model", "train")}
        kept["task"]["problems"].pop("test")
        if self.study.model.revision is None:  # so that runs from before there was such a key keep their hash
            kept["model"].pop("revision")
        if self.study.task_files is not None:
            kept["task"]["files"] = self.study.task_files
        kept["evaluate"] = {key: study["evaluate"][key] for key in ("every", "samples")}
        kept["pretrain"] = study["pretrain"] if self.study.model.path is None else None
        kept["base_weights"] = self.study.base_weights
        kept["distill"] = study["distill"] if self.distill_weight > 0 else None
        kept["teacher"] = self.teacher if self.distill_weight > 0 else None
        return kept | {"distill_weight": self.distill_weight, "seed": self.seed}

    @property
    def hash(self) -> str:
        return content_hash(self.resolved)

    @property
    def folder(self) -> Path:
        return self.study.root / "runs" / self.name / f"seed{self.seed}"

    @property
    def state_folder(self) -> Path:
        """Where checkpoints live: not a workflow output, so a rerun after a kill finds them."""
        return self.study.root / "state" / f"{self.name}-seed{self.seed}-{self.hash}"


def content_hash(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of `value` as canonical JSON."""
    return json_sha256(value)[:12]


@cache
def weights_hash(folder: Path) -> str:
    """First 12 hex digits over the SHA-256 of a folder's safetensors files; of nothing where there are none.

    Raises:
        UserError: one of them cannot be read.
    """
    try:
        return content_hash({path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))})
    except OSError as error:
        raise UserError(f"model.path {folder}: {error.filename or 'weights'}: {error.strerror}") from error


def files_hash(paths: list[Path]) -> str:
    """First 12 hex digits over the names and the SHA-256 of files.

    Raises:
        UserError: one of them cannot be read.
    """
    try:
        return content_hash([[path.name, _known_sha256(path.resolve(), path.stat().st_mtime_ns)] for path in paths])
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error


@cache
def _known_sha256(path: Path, changed: int) -> str:
    """Large data files are read once per process, unless they change."""
    return sha256(path)


def load_study(path: str | Path) -> Study:
    """Read and validate a study file.

    Raises:
        UserError: missing file, not YAML, unknown key, wrong type, impossible value; names the key.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(f"config {path}: expected a mapping of sections, as in config/small.yaml")
    try:
        return Study.model_validate(as_tuples(raw))
    except ValidationError as error:
        raise UserError(f"config {path}: {first_problem(error)}") from error
