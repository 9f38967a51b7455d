"""What a step reports about itself, and the JSON-lines file it goes to."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from hdpo.learning.policy_gradient import cliff_mask
from hdpo.system import ranks
from hdpo.system.finite import NotFinite


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
        if not len(logp):
            return
        ratio, gap = (logp - old_logp).exp(), (old_logp - sampler_logp).abs()
        self.tokens += len(logp)
        self.ratio += float(ratio.sum())
        self.ratio_max = max(self.ratio_max, float(ratio.max()))
        self.clipped += int(((ratio - 1).abs() > clip).sum())
        self.gap += float(gap.sum())
        self.gap_max = max(self.gap_max, float(gap.max()))

    def metrics(self) -> dict[str, Any]:
        """Over the tokens of all ranks."""
        sums = ranks.gather((self.tokens, self.ratio, self.clipped, self.gap))
        count, ratio, clipped, gap = (sum(part) for part in zip(*sums, strict=True))
        ratio_max, gap_max = map(max, zip(*ranks.gather((self.ratio_max, self.gap_max)), strict=True))
        return {
            "ratio_mean": ratio / count if count else None,
            "ratio_max": ratio_max if count else None,
            "clip_fraction": clipped / count if count else None,
            "logp_gap": gap / count if count else None,
            "logp_gap_max": gap_max if count else None,
            "trained_tokens": count,
        }


def step_record(step: int, judged, rollouts, demonstrations, updated: dict[str, Any], clock: Clock):
    """The metrics of one step: what was judged, what `Trainer.update` returned, tokens and seconds of each phase."""
    rewards, cliffs = judged.rewards, cliff_mask(judged.rewards)
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
        **(_verdicts(judged, demonstrations) if judged.verdicts else {}),
        "entropy": float(rollouts.entropy.mean()),
        "response_length": float(rollouts.sequences.lengths.float().mean()),
        **{name: value for name, value in updated.items() if name != "trained_tokens"},
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": {name: round(count / max(seconds[name], 1e-9)) for name, count in phases.items()},
    }


def _verdicts(judged, demonstrations) -> dict[str, Any]:
    """How many responses got which verdict, and the share of demonstrations that only repeat y*."""
    return {
        "verdicts": dict(judged.verdicts),
        "privileged_verdicts": dict(demonstrations.verdicts),
        "echo_share": demonstrations.echoes / len(demonstrations) if len(demonstrations) else None,
    }


class MetricsFile:
    """One JSON object per step, appended; begins with what the checkpoint holds, so no step is doubled or lost."""

    def __init__(self, path: Path, before: bytes) -> None:
        """Start the file anew with `before`, the lines of the steps already done."""
        self.path = path
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115  (lives as long as the run)
        self._append(before)

    def write(self, metrics: dict[str, Any]) -> None:
        """Append one step.

        Raises:
            NotFinite: one of its numbers is NaN or infinite, which JSON cannot hold.
        """
        for name, value in metrics.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise NotFinite(f"metric {name} is {value}")
        self._append(json.dumps(metrics, allow_nan=False).encode() + b"\n")

    def _append(self, data: bytes) -> None:
        """All of `data` or an error: a nearly full disk takes a part of it first."""
        try:
            while data:
                data = data[self.file.write(data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
