"""A study: one YAML file per scale, validated whole, resolved into one identity per run."""

from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationError, field_serializer, field_validator, model_validator

from hdpo.study.identity import base_code, content_hash, evaluation_code, files_hash, training_code, weights_hash
from hdpo.study.method import Method
from hdpo.study.raw import read_study
from hdpo.study.registry import expand, parse_run, task_class
from hdpo.study.schema import (
    Count,
    Evaluate,
    Hardware,
    Model,
    Name,
    Natural,
    Pretrain,
    Repeat,
    Section,
    Trackers,
    Train,
    as_tuples,
    first_problem,
)
from hdpo.study.task import TaskConfig
from hdpo.system.errors import UserError

BASE_RUN = "base"  # the name of the untrained policy among runs; it has one "seed", 0


class Study(Section):
    """Everything one scale needs. `load_study` reads it; `Study.run` resolves one training run."""

    name: Name  # results go to results/<name>/
    seeds: tuple[Natural, ...]
    methods: tuple[Method, ...]  # the arms
    task: SerializeAsAny[TaskConfig]
    model: Model
    pretrain: Pretrain | None
    train: Train
    evaluate: Evaluate
    hardware: Hardware = Hardware()
    repeat: Repeat | None = None  # what `make reproduce` trains again
    published: bool = Field(default=False, exclude=True)  # read results/reference/<name>/, not the study's own runs
    samples: Count | None = 20  # steps between samples that `hdpo show` prints; null: none
    trackers: Trackers = ()

    @field_validator("methods", mode="before")
    @classmethod
    def _arms(cls, value: Any) -> Any:
        if not isinstance(value, tuple | list) or not value:
            raise ValueError("list at least one method, such as `- method: grpo`")
        return tuple(arm for entry in value for arm in expand(entry))

    @field_validator("task", mode="before")
    @classmethod
    def _task(cls, value: Any) -> Any:
        if isinstance(value, TaskConfig):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise ValueError("expected a mapping with the task's name, as in config/small.yaml")
        return task_class(value["name"]).model_validate(value)

    @field_serializer("methods")
    def _describe(self, methods: tuple[Method, ...]) -> list[dict[str, Any]]:
        return [method.described for method in methods]

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
        if self.train.prompts_per_step > self.task.problems.train:
            raise ValueError("train.prompts_per_step is larger than task.problems.train")
        if self.train.max_response_tokens >= self.model.max_length:
            raise ValueError("train.max_response_tokens must be smaller than model.max_length")
        prompts, ranks = self.train.prompts_per_step, self.hardware.ranks
        if prompts % ranks:
            key = "gpus" if self.hardware.gpus else "processes"
            raise ValueError(f"hardware.{key} is {ranks}, which must divide train.prompts_per_step, {prompts}")
        packs = self.model.dtype == "bfloat16" and self.train.backend == "vllm"
        if self.model.attention == "flash_attention_2" and not packs:
            raise ValueError("model.attention: flash_attention_2 wants model.dtype bfloat16 and train.backend vllm")
        beyond_small = self.model.dtype != "float32" or self.train.gradient_checkpointing or self.hardware.gpus
        if self.model.implementation == "small" and beyond_small:
            wants = "model.dtype float32, no train.gradient_checkpointing and no hardware.gpus"
            raise ValueError(f"model.implementation: small wants {wants}; write transformers")
        for method in self.methods:
            method.check(self)
            if parse_run(method.run_name) != method:
                raise ValueError(f"methods: {method.run_name} does not name its parameters exactly")
        if len(set(self.runs)) < len(self.runs):
            raise ValueError(f"methods: {max(self.runs, key=self.runs.count)} is listed twice")
        return self

    @property
    def runs(self) -> list[str]:
        """Names of the study's runs, one for each arm, in the file's order."""
        return [method.run_name for method in self.methods]

    @property
    def root(self) -> Path:
        return Path("results") / self.name

    @property
    def built_base(self) -> Path:  # the model that the `base` stage trains
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
        """Hash of a local base model's weights. None for a name on the hub, and for a base that this study trains."""
        if self.model.path is None or not self.base_is_local:
            return None
        return weights_hash(Path(self.model.path).absolute())

    @property
    def task_files(self) -> str | None:
        """Hash of the local files that the task reads; None for a task that reads no file."""
        files = self.task.files()
        return files_hash(files) if files else None

    @property
    def identity(self) -> str:
        """Hash of the whole study file as resolved, but for what only watches its runs."""
        return content_hash(self.model_dump(mode="json", exclude={"samples", "trackers", "repeat"}))

    @property
    def base_hash(self) -> str:
        """Identity of the base model and of what it is asked: its weights, or the config and code that make them."""
        asked = self.model_dump(mode="json", include={"model", "train"})
        train = {key: asked["train"][key] for key in ("max_response_tokens", "temperature", "backend")}
        asked["model"].pop("path")
        weights = self.base_weights or [self.base_path, self.pretrain_hash, base_code()]
        return content_hash([weights, self.task.described, self.task_files, asked["model"], train])

    @property
    def pretrain_hash(self) -> str:
        return content_hash(self.pretrain.model_dump(mode="json") if self.pretrain else None)

    @property
    def evaluation_code(self) -> str:
        """Hash of the code that decides what a model answers and how it is scored."""
        return evaluation_code(type(self.task))

    def run(self, name: str, seed: int) -> "Run":
        """Resolve one run, listed in the study or not.

        Raises:
            UserError: `name` states no method with valid parameters, or the seed is negative.
        """
        try:
            return Run(study=self, method=parse_run(name), seed=seed)
        except ValidationError as error:
            raise UserError(f"run {name!r}, seed {seed}: {first_problem(error)}") from error


class Run(Section):
    """One training run: the study plus arm and seed. Its hash covers exactly what can change its weights."""

    study: Study
    method: SerializeAsAny[Method]
    seed: Natural

    @model_validator(mode="after")
    def _suits(self) -> "Run":
        self.method.check(self.study)
        return self

    @property
    def name(self) -> str:
        return self.method.run_name

    @property
    def resolved(self) -> dict[str, Any]:
        """The configuration that decides the bytes that the run publishes; nothing else.

        In are keys of `train` that change rounding (`micro_batch_tokens`, `gradient_checkpointing`) or metrics
        (`log_gradient_norms`), and of `evaluate` those of evaluations during training. Out are what a kill costs
        (`checkpoint_every`), what comes after training, `hardware` (a run may go on where there are other GPUs), the
        study's name and other runs, `samples`, `trackers`, and folders, where the content of what lies there is known.
        """
        study = self.study.model_dump(mode="json")
        kept = {"task": self.study.task.described, "model": study["model"], "train": study["train"]}
        del kept["task"]["problems"]["test"], kept["train"]["checkpoint_every"]
        if self.study.task_files is not None:
            kept["task"]["files"] = self.study.task_files
        kept["evaluate"] = {key: study["evaluate"][key] for key in ("every", "samples")}
        kept["pretrain"] = study["pretrain"] if self.study.model.path is None else None
        kept["base_weights"] = self.study.base_weights
        if self.study.base_weights is not None:  # the weights say more than the folder that holds them
            kept["model"].pop("path")
        return kept | {"method": self.method.described, "seed": self.seed}

    @property
    def hash(self) -> str:
        return content_hash(self.resolved)

    @property
    def code(self) -> str:
        """Hash of the code that decides the run's weights: comments, docstrings and layout do not count."""
        return training_code(type(self.method), type(self.study.task), self.study.model.path is None)

    @property
    def folder(self) -> Path:
        return self.study.root / "runs" / self.name / f"seed{self.seed}"

    @property
    def state_folder(self) -> Path:
        """Where checkpoints live: not a workflow output, so a rerun after a kill finds them."""
        return self.study.root / "state" / f"{self.name}-seed{self.seed}-{self.hash}-{self.code}"


def load_study(path: str | Path) -> Study:
    """Read and validate a study file.

    Raises:
        UserError: missing file, not YAML, unknown key, wrong type, impossible value; names the key.
    """
    raw = read_study(Path(path))
    try:
        return Study.model_validate(as_tuples(raw))
    except ValidationError as error:
        raise UserError(f"config {path}: {first_problem(error)}") from error
    except UserError as error:
        raise UserError(f"config {path}: {error}") from error
