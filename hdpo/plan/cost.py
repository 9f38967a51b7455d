"""Seconds of every phase of a job, disk, the sum over a study, and the plan beside runs that have finished."""

from dataclasses import dataclass
from pathlib import Path

from hdpo.plan.hardware import Device, Use, device, use
from hdpo.plan.memory import SEQUENCES
from hdpo.plan.shape import Shape, study_shape, value_bytes
from hdpo.plan.workload import Assumptions, Draw, Workload, assumptions, workload
from hdpo.study.method import Method
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_json

TAIL = 2.0  # the longest response of a batch, in mean lengths
START = {"cpu": {"low": 3, "likely": 6, "high": 12}, "gpu": {"low": 40, "likely": 90, "high": 240}}  # seconds
WRITE = 1e9  # bytes per second to a checkpoint, checksum and sync included
ADAMW_BYTES = 28  # per parameter: read weight, gradient and two moments, write three of them


@dataclass(frozen=True)
class Machine:
    """A device as one job of a study uses it."""

    device: Device
    use: Use
    units: int  # GPUs or CPU threads of the job
    threads: int
    bytes_per_value: int
    in_flight: int  # rows that decode at a time on one GPU
    recomputes: bool  # gradient checkpointing
    on_gpu: bool


def machine(study: Study, hardware: str, level: str) -> Machine:
    on_gpu = hardware != "cpu"
    return Machine(
        device(hardware),
        use(hardware, study.train.backend, level),
        units=max(1, study.hardware.gpus) if on_gpu else study.hardware.threads,
        threads=study.hardware.threads,
        bytes_per_value=value_bytes(study),
        in_flight=SEQUENCES[study.train.backend],
        recomputes=study.train.gradient_checkpointing,
        on_gpu=on_gpu,
    )


def sampling_flops(draw: Draw, shape: Shape) -> float:
    """Each prompt is read once; each sampled token attends to the prompt and half the response, on average."""
    read = draw.prompts * (draw.prompt * shape.trunk_flops(draw.prompt / 2) + shape.head_flops)
    context = draw.prompt + draw.response / 2
    return read + draw.tokens * (shape.trunk_flops(context) + shape.head_flops)


def sampling_seconds(draw: Draw, shape: Shape, machine: Machine, max_tokens: int) -> float:
    """The time of arithmetic or of reading (weights at every pass, the cache at every token), whichever is larger,
    plus launching.

    Rows are spread over the job's GPUs and decode `in_flight` at a time; the longest row decodes on alone.
    """
    if not draw.rows:
        return 0.0
    gpus = machine.units if machine.on_gpu else 1
    rows = draw.rows / gpus
    tail = min(TAIL * draw.response, max_tokens) - draw.response
    passes = rows * draw.response / min(rows, machine.in_flight) + max(0.0, tail)
    cache = rows * draw.response * (draw.prompt + draw.response / 2) * shape.kv_bytes(machine.bytes_per_value)
    read = passes * shape.parameters * machine.bytes_per_value + cache
    reading = read / (machine.device.bandwidth * machine.use.bandwidth)
    arithmetic = sampling_flops(draw, shape) / (machine.units * machine.device.flops * machine.use.decoding)
    return max(arithmetic, reading) + passes * machine.use.per_pass


def training_flops(work: Workload, shape: Shape, recomputes: bool) -> dict[str, float]:
    """Of one step: forward, twice that backward, and the forward pass again under gradient checkpointing.

    The output head runs on completion tokens only. The distillation adds the teacher's forward pass.
    """
    passes = 4 if recomputes else 3
    plain, hinted = work.rollout, work.privileged
    response = plain.response

    def forward(prompt: float) -> float:
        length = prompt + response
        return length * shape.trunk_flops(length / 2) + response * shape.head_flops

    return {
        "update": passes * work.trained_rows * forward(plain.prompt),
        "distill": work.distilled_rows * (passes * forward(plain.prompt) + forward(hinted.prompt)),
    }


def step_seconds(work: Workload, shape: Shape, machine: Machine, assumed: Assumptions, max_tokens: int) -> dict:
    """Seconds of one step by phase, named as in `metrics.jsonl`; the distillation's update apart."""
    peak = machine.units * machine.device.flops * machine.use.training
    flops = training_flops(work, shape, machine.recomputes)
    scored = work.rollout.rows + work.privileged.rows
    adamw = ADAMW_BYTES * shape.parameters / machine.units / (machine.device.bandwidth * machine.use.bandwidth)
    return {
        "rollout": sampling_seconds(work.rollout, shape, machine, max_tokens),
        "reward": scored / (assumed.scored * machine.threads),
        "privileged": sampling_seconds(work.privileged, shape, machine, max_tokens),
        "update": flops["update"] / peak + adamw,
        "distill": flops["distill"] / peak,
    }


def run_seconds(study: Study, hardware: str, level: str, method: Method, changes: dict | None = None) -> dict:
    """Seconds of one training job of an arm by phase, and of its test job under `test`."""
    shape, assumed = study_shape(study), assumptions(study, level, changes)
    work, on = workload(study, assumed, method), machine(study, hardware, level)
    max_tokens = study.train.max_response_tokens
    phases = step_seconds(work, shape, on, assumed, max_tokens)
    answers = sum(draw.rows for draw in work.evaluation)
    evaluation = sum(sampling_seconds(draw, shape, on, max_tokens) for draw in work.evaluation)
    tested = sum(draw.rows for draw in work.test) / (assumed.scored * on.threads)
    start = START["gpu" if on.on_gpu else "cpu"][level]
    return {name: work.steps * seconds for name, seconds in phases.items()} | {
        "evaluation": work.evaluations * (evaluation + answers / (assumed.scored * on.threads)),
        "checkpoints": study.train.steps / study.train.checkpoint_every * 12 * shape.parameters / WRITE,
        "start": start,
        "test": start + tested + sum(sampling_seconds(draw, shape, on, max_tokens) for draw in work.test),
    }


def study_seconds(study: Study, hardware: str, level: str, changes: dict | None = None) -> float:
    """Of all training and test jobs, one after the other; the base model is tested once more."""
    runs = [run_seconds(study, hardware, level, method, changes) for method in study.methods]
    return len(study.seeds) * sum(sum(seconds.values()) for seconds in runs) + runs[0]["test"]


def disk_bytes(study: Study) -> dict[str, float]:
    """What a study leaves on disk: downloads, final models, and the checkpoints that its runs would resume from."""
    shape, jobs = study_shape(study), len(study.runs) * len(study.seeds)
    model = value_bytes(study) * shape.parameters
    return {
        "base model": model,
        "final models": jobs * model,
        "checkpoints": jobs * 2 * 12 * shape.parameters,  # two kept per run: float32 weights and two moments
    }


def compare(study: Study, folder: Path, hardware: str, changes: dict[str, float] | None = None) -> list[dict]:
    """Planned (likely) and measured tokens and seconds of the finished runs under `folder`.

    Seconds only where the run was on the same kind of hardware, CPU or GPU, and not interrupted. `is_current`: the
    run was made by the study as it is now.

    Raises:
        UserError: a damaged run.json.
    """
    found = []
    for path in sorted(folder.glob("*/*/run.json")):
        record = read_json(path)
        try:
            name, seed, tokens = record["run"], record["seed"], record["tokens"]
            timed = (record["gpu"] is None) == (hardware == "cpu") and not record["resumed_after_step"]
            taken, run_hash = record["seconds"], record["run_hash"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged, {error} is missing") from error
        run = study.run(name, seed)
        planned = workload(study, assumptions(study, "likely", changes), run.method).tokens()
        pairs = {f"{kind} tokens": (planned[kind], tokens[kind]) for kind in tokens if planned.get(kind)}
        if timed:
            seconds = run_seconds(study, hardware, "likely", run.method, changes)
            pairs["seconds"] = (sum(seconds.values()) - seconds["test"], taken)
        row = {"run": name, "is_current": run.hash == run_hash}
        found += [row | {"quantity": of, "planned": plan, "measured": value} for of, (plan, value) in pairs.items()]
    return found
