"""Memory of one device by component, at its two peaks: sampling rollouts and updating the weights."""

from dataclasses import dataclass

from hdpo.plan.hardware import device
from hdpo.plan.shape import Shape, study_shape, value_bytes
from hdpo.plan.workload import Workload, assumptions, extremes, workload
from hdpo.study.study import Run, Study
from hdpo.system.errors import UserError

SEQUENCES = {"vllm": 256, "transformers": 512}  # rows that decode at a time: per vLLM engine, or per job
LOGITS_CHUNK = 2**27  # logits in memory at a time, as in hdpo.model.forward, whose import would load PyTorch
USABLE = 0.92  # share of a GPU's memory; fragmentation and other programs take the rest
CONTEXT = {"cpu": 750e6, "gpu": 1.5e9}  # bytes: libraries and oneDNN's compiled kernels; CUDA context and workspaces


@dataclass(frozen=True)
class Memory:
    """Bytes on one device by component. Some components exist in one phase only."""

    rollout: dict[str, float]
    update: dict[str, float]
    available: float
    where: str  # whose bytes are available
    lacking: float = 0.0  # bytes by which vLLM's share is too small for the weights and one row

    @property
    def needed(self) -> float:
        """Of the larger phase."""
        return max(sum(self.rollout.values()), sum(self.update.values()))

    @property
    def fits(self) -> bool:
        return self.needed <= self.available and not self.lacking


def study_memory(study: Study, hardware: str, changes: dict[str, float] | None = None) -> Memory:
    """Of the study's largest job at the high level of its assumptions."""
    work = workload(study, assumptions(study, "high", changes), extremes(study)[-1])
    if hardware == "cpu":
        return memory(study, study_shape(study), work, False, study.hardware.memory_mb * 1e6, "hardware.memory_mb")
    found = device(hardware)
    return memory(study, study_shape(study), work, True, found.memory, found.label)


def require_gpu_memory(run: Run) -> None:
    """Before the first step: refuse a GPU that is too small for the run even at the low level of the assumptions.

    Raises:
        UserError: it is. Of a model whose shape the plan does not know, nothing is said.
    """
    import torch

    try:
        shape = study_shape(run.study)
    except UserError:
        return
    found = torch.cuda.get_device_properties(0)
    study = run.study.model_copy(update={"methods": (run.method,)})
    work = workload(study, assumptions(study, "low"), run.method)
    require_memory(memory(study, shape, work, True, found.total_memory, found.name), study)


def memory(study: Study, shape: Shape, work: Workload, on_gpu: bool, total: float, where: str) -> Memory:
    """The least that a training job needs on each of its devices.

    Weights, gradients and AdamW's moments are float32 and, on several GPUs, sharded over them (FSDP2) unless
    `hardware.sharding` says otherwise; forward and backward passes, the sampler and the frozen teacher are in the
    study's dtype. Who samples without vLLM gathers the weights for it. An offloaded teacher is there
    for its rollouts and its own distributions, and gone while the student's gradients are computed.
    The key-value cache counts what the rows that decode together fill at their mean length, and at least one row
    of `model.max_length`: a smaller cache only takes more passes. vLLM's takes what its share of the GPU leaves, until
    it sleeps for the update.
    """
    devices = max(1, study.hardware.gpus) if on_gpu else 1
    shards = devices if study.hardware.sharding == "shard" else 1
    width = value_bytes(study)
    state = 4 * shape.parameters / shards
    kept = {"weights, float32": state, "gradients": state, "AdamW moments": 2 * state}
    if width == 2:
        layer = shape.layer_matrix
        kept["bfloat16 copy"] = 2 * (shape.parameters if shards == 1 else shape.embedding + 2 * layer)
    kinds = {method.teacher_kind for method in study.methods}
    if kinds & {"frozen", "ema"}:
        kept["averaged teacher" if "ema" in kinds else "frozen teacher"] = width * shape.parameters / shards
    kept["context and libraries"] = CONTEXT["gpu" if on_gpu else "cpu"]

    update = kept | activations(study, shape, width, study.train.gradient_checkpointing)
    if study.hardware.offload_teacher and on_gpu:
        update.pop("frozen teacher", None)
    if study.train.log_gradient_norms:
        update["gradient norms"] = state
    rollout = dict(kept)
    if study.train.backend == "vllm" or shards > 1:
        rollout["sampler's weights"] = width * shape.parameters
    length = work.rollout.prompt + work.rollout.response
    limit = SEQUENCES[study.train.backend] / (devices if study.train.backend == "transformers" else 1)
    rows = min(work.rollout.rows / devices, limit)
    logits, one_row = 2 * 4 * rows * shape.vocabulary, shape.kv_bytes(width) * study.model.max_length
    lacking = 0.0
    if study.train.backend == "vllm" and on_gpu:
        cache = study.hardware.rollout_memory * total - rollout["sampler's weights"] - logits
        lacking = max(0.0, one_row - cache)
    else:
        cache = shape.kv_bytes(width) * rows * length
    rollout |= {"key-value cache": max(cache, one_row), "sampled logits": logits}
    return Memory(rollout, update, USABLE * total if on_gpu else total, where, lacking)


def activations(study: Study, shape: Shape, width: int, checkpointing: bool) -> dict[str, float]:
    """What backward keeps of one micro-batch: every layer's input and one whole layer, or all layers whole.

    Of a layer, per token: inputs of both norms, of the projections and of the MLP, queries, keys, values, attention
    output, both halves of the gated MLP, their activation and product.
    """
    tokens = study.train.micro_batch_tokens
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    layer = tokens * width * (4 * shape.hidden + 3 * queries + 4 * keys + 4 * shape.intermediate)
    # Logits, log-probs and gradient in float32; from the second chunk on also the sum of the head's gradients, the
    # next one and a copy of it (`python -m benchmarks memory` shows both).
    count = tokens * shape.vocabulary
    logits: dict[str, float] = {"logits of a chunk": 3 * 4 * min(LOGITS_CHUNK, count)}
    if count > LOGITS_CHUNK:
        logits["gradient of the output head"] = 3 * 4 * shape.embedding
    if not checkpointing:
        return {"activations": shape.layers * layer} | logits
    inputs = shape.layers * tokens * width * shape.hidden
    return {"activations, layer inputs": inputs, "activations, one layer": layer} | logits


def require_memory(found: Memory, study: Study) -> None:
    """Refuse a study that cannot fit.

    Raises:
        UserError: the larger phase needs more than is there, or vLLM more than its share.
    """
    if found.fits:
        return
    if found.lacking:
        raise UserError(
            f"too little memory: hardware.rollout_memory {study.hardware.rollout_memory:g} of {found.where} is"
            f" {found.lacking / 1e9:.2f} GB too little for vLLM's weights and one row of model.max_length; raise it"
        )
    phase, parts = max((("update", found.update), ("rollout", found.rollout)), key=lambda pair: sum(pair[1].values()))
    largest = max(parts, key=lambda name: parts[name])
    lower = "train.micro_batch_tokens, set train.gradient_checkpointing,"
    if phase == "rollout" and study.train.backend == "vllm":
        lower = f"hardware.rollout_memory ({study.hardware.rollout_memory:g}),"
    raise UserError(
        f"too little memory: {study.name} needs about {found.needed / 1e9:.1f} GB per device in its {phase} phase"
        f" (largest part: {largest}, {parts[largest] / 1e9:.1f}), {found.where} has {found.available / 1e9:.1f} usable;"
        f" lower {lower} or take more GPUs or a smaller model"
    )
