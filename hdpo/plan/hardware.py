"""Named devices, and the share of their peak that we assume the kit reaches."""

from dataclasses import dataclass

from hdpo.system.errors import UserError

LEVELS = ("low", "likely", "high")  # cost, not speed
MIB = 2**20


@dataclass(frozen=True)
class Device:
    label: str
    flops: float  # peak per second: bfloat16 with float32 accumulation, dense; float32 for the CPU
    bandwidth: float  # bytes per second
    memory: int  # bytes that a program can see; 0: what the study file grants its process


# Vendors' data sheets; memory as nvidia-smi reports it. Peaks without structural sparsity.
DEVICES = {
    "cpu": Device("one CPU core with AVX2 at 3 GHz, float32", 96e9, 15e9, 0),
    "rtx4090": Device("NVIDIA GeForce RTX 4090, 24 GB", 165e12, 1008e9, 24564 * MIB),
    "a10": Device("NVIDIA A10, 24 GB", 125e12, 600e9, 23028 * MIB),
    "l4": Device("NVIDIA L4, 24 GB", 121e12, 300e9, 23034 * MIB),
    "a100": Device("NVIDIA A100 SXM, 80 GB", 312e12, 2039e9, 81920 * MIB),
    "h100": Device("NVIDIA H100 SXM, 80 GB", 989e12, 3350e9, 81559 * MIB),
    "h200": Device("NVIDIA H200 SXM, 141 GB", 989e12, 4800e9, 143771 * MIB),
}


@dataclass(frozen=True)
class Use:
    """How well a device is used; one value per level of cost."""

    training: float  # share of peak FLOP/s in forward and backward passes
    decoding: float  # share of peak FLOP/s while sampling, if arithmetic is the limit
    bandwidth: float  # share of peak bandwidth while sampling, if reading weights and cache is the limit
    per_pass: float  # seconds of launching and sampling per decoded position of a batch


# Our assumptions. On GPUs, frameworks report 20 to 50 % of peak in training for models of this size on one node; short
# sequences and small models are at the low end. We set the CPU's to match the small world's run.
USES = {
    "cpu": (Use(0.8, 0.8, 1.0, 0.0008), Use(0.5, 0.4, 0.7, 0.0015), Use(0.25, 0.2, 0.4, 0.004)),
    "vllm": (Use(0.5, 0.5, 0.8, 0.002), Use(0.35, 0.3, 0.6, 0.004), Use(0.2, 0.15, 0.4, 0.010)),
    "transformers": (Use(0.5, 0.5, 0.7, 0.015), Use(0.35, 0.3, 0.5, 0.030), Use(0.2, 0.15, 0.3, 0.060)),
}


def device(name: str) -> Device:
    """Look a device up.

    Raises:
        UserError: not in the table.
    """
    if name not in DEVICES:
        raise UserError(f"hardware {name!r}: unknown; choose from {', '.join(DEVICES)}")
    return DEVICES[name]


def use(name: str, backend: str, level: str) -> Use:
    return USES["cpu" if name == "cpu" else backend][LEVELS.index(level)]
