"""What a step reports about itself, and the JSON-lines file it goes to."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from hdpo.errors import UserError
from hdpo.grpo import cliff_mask


class Clock:
    """Wall-clock seconds of a step's phases: `with clock("rollout"): ...`."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.phases: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.phases[phase] = time.perf_counter() - before

    @property
    def seconds(self) -> dict[str, float]:
        total = time.perf_counter() - self.started
        return {name: round(value, 4) for name, value in (self.phases | {"total": total}).items()}


class RatioStatistics:
    """Token-weighted means over micro-batches: importance ratio, clipping, sampler-trainer log-prob gap."""

    def __init__(self) -> None:
        self.tokens, self.ratio, self.ratio_max, self.clipped, self.gap, self.gap_max = 0, 0.0, 0.0, 0, 0.0, 0.0

    def add(self, logp: Tensor, old_logp: Tensor, sampler_logp: Tensor, clip: float) -> None:
        ratio, gap = (logp - old_logp).exp(), (old_logp - sampler_logp).abs()
        self.tokens += len(logp)
        self.ratio += float(ratio.sum())
        self.ratio_max = max(self.ratio_max, float(ratio.max()))
        self.clipped += int(((ratio - 1).abs() > clip).sum())
        self.gap += float(gap.sum())
        self.gap_max = max(self.gap_max, float(gap.max()))

    def metrics(self) -> dict[str, Any]:
        count = self.tokens
        return {
            "ratio_mean": self.ratio / count if count else None,
            "ratio_max": self.ratio_max if count else None,
            "clip_fraction": self.clipped / count if count else None,
            "logp_gap": self.gap / count if count else None,
            "logp_gap_max": self.gap_max if count else None,
            "trained_tokens": count,
        }


def step_record(step: int, rewards: Tensor, rollouts, demonstrations, updated: dict[str, Any], clock: Clock):
    """The metrics of one step: rewards [P, G], what `Trainer.update` returned, tokens and seconds of each phase."""
    cliffs = cliff_mask(rewards)
    tokens = {
        "rollout": len(rollouts.logp),
        "privileged": demonstrations.drawn_tokens,
        "distill": int(demonstrations.student.lengths.sum()),
        "trained": updated["trained_tokens"],
    }
    seconds = clock.seconds
    phases = {"rollout": tokens["rollout"], "privileged": tokens["privileged"]}
    phases["update"] = tokens["trained"] + tokens["distill"]
    return {
        "step": step,
        "reward": float(rewards.mean()),
        "cliff_fraction": float(cliffs.float().mean()),
        "solved_fraction": float((rewards.mean(1) == 1).float().mean()),
        "cliffs": int(cliffs.sum()),
        "privileged_pass_rate": len(demonstrations) / demonstrations.drawn if demonstrations.drawn else None,
        "demonstrations": len(demonstrations),
        "entropy": float(rollouts.entropy.mean()),
        "response_length": float(rollouts.sequences.lengths.float().mean()),
        **{name: value for name, value in updated.items() if name != "trained_tokens"},
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": {name: round(count / max(seconds[name], 1e-9)) for name, count in phases.items()},
    }


class MetricsFile:
    """One JSON object per step, appended; cut back to the checkpoint's step on resume, so none is doubled."""

    def __init__(self, path: Path, done_steps: int) -> None:
        """Open for appending after `done_steps` steps.

        Raises:
            UserError: fewer whole lines than the checkpoint has steps.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "ab")  # noqa: SIM115  (lives as long as the run)
        lines = path.read_bytes().splitlines(keepends=True)[:done_steps]
        if len(lines) < done_steps or any(not line.endswith(b"\n") for line in lines):
            raise UserError(
                f"{path}: holds {len(lines)} steps, but the checkpoint is of step {done_steps};"
                f" delete {path.parent} to train again"
            )
        self.file.truncate(sum(len(line) for line in lines))

    def write(self, metrics: dict[str, Any]) -> None:
        self.file.write(json.dumps(metrics, allow_nan=False).encode() + b"\n")
        self.file.flush()

    def sync(self) -> None:
        os.fsync(self.file.fileno())
