"""The metrics of a training step."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hdpo.learning.cliffs import cliff_mask
from hdpo.sampling.sampler import Rollouts
from hdpo.system import ranks
from hdpo.tasks.scoring import Judged

if TYPE_CHECKING:
    from hdpo.learning.teacher import Demonstrations

PHASES = ("rollout", "reward", "privileged", "update")


class RatioStatistics:
    """Token-weighted means over micro-batches: importance ratio, clipping, and the sampler's gap in log-probs."""

    def __init__(self) -> None:
        self.tokens, self.ratio, self.ratio_max, self.clipped, self.gap, self.gap_max = 0, 0.0, 0.0, 0, 0.0, 0.0

    def add(self, logp: Tensor, old_logp: Tensor, sampler_logp: Tensor, counts: Tensor, clip: float | None) -> None:
        """Tokens [M], each of which stands for `counts` equal ones."""
        there = counts > 0
        if not there.any():
            return
        ratio, gap = (logp - old_logp).exp(), (old_logp - sampler_logp).abs()
        self.tokens += int(counts.sum())
        self.ratio += float((ratio * counts).sum())
        self.ratio_max = max(self.ratio_max, float(ratio[there].max()))
        self.clipped += int((((ratio - 1).abs() > clip) * counts).sum()) if clip is not None else 0
        self.gap += float((gap * counts).sum())
        self.gap_max = max(self.gap_max, float(gap[there].max()))

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


class StepLog:
    """Notes what a step draws, scores and learns, and how long each phase takes."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.phases = dict.fromkeys(PHASES, 0.0)
        self.draws = 0  # of problems
        self.rollouts: list[Rollouts] = []  # of plain prompts
        self.hinted: list[Rollouts] = []  # of the policy, under privileged prompts
        self.judged: list[Judged] = []
        self.demonstrations: list[Demonstrations] = []
        self.updated: dict[str, Any] = {}

    @contextmanager
    def time(self, phase: str) -> Iterator[None]:
        """Add the wall-clock seconds inside to a phase."""
        before = time.perf_counter()
        yield
        self.phases[phase] += time.perf_counter() - before

    def record(self, step: int) -> dict[str, Any]:
        """The step's metrics: shares, losses, and tokens and seconds by phase. Losses are None without an update.

        Rewards, cliffs, entropy and length are those of the first rollouts, with which every method begins; what it
        draws beyond them is its own.
        """
        none = {"loss": None, "grad_norm": None, "learning_rate": None, "forward": 0, "backward": 0}
        updated = self.updated or none | RatioStatistics().metrics()
        rewards = self.judged[0].rewards if self.judged else torch.empty(0, 1)  # [P, G]
        cliffs = cliff_mask(rewards)
        entropy = self.rollouts[0].entropy if self.rollouts else torch.empty(0)
        lengths = self.rollouts[0].sequences.lengths if self.rollouts else torch.empty(0)
        drawn_here = [*self.rollouts, *self.hinted]
        drawn = sum(shown.drawn for shown in self.demonstrations)
        kept = sum(len(shown) for shown in self.demonstrations)
        tokens = {
            "rollout": sum(len(rollouts.logp) for rollouts in self.rollouts),
            "privileged": sum(shown.drawn_tokens for shown in self.demonstrations)
            + sum(len(rollouts.logp) for rollouts in self.hinted),
            "distill": sum(int(shown.student.lengths.sum()) for shown in self.demonstrations),
            "trained": updated["trained_tokens"],
            "forward": updated["forward"]
            + sum(rollouts.sequences.passed(share_prompts=True) for rollouts in drawn_here)
            + sum(shown.passed_tokens for shown in self.demonstrations),
            "backward": updated["backward"],
        }
        total = time.perf_counter() - self.started
        seconds = {name: round(value, 4) for name, value in (self.phases | {"total": total}).items()}
        phases = {"rollout": tokens["rollout"], "privileged": tokens["privileged"]}
        phases["update"] = tokens["trained"] + tokens["distill"]
        return {
            "step": step,
            "reward": _mean(rewards),
            "cliff_fraction": _mean(cliffs),
            "solved_fraction": _mean(rewards.mean(1) == 1),
            "cliffs": int(cliffs.sum()),
            "privileged_pass_rate": sum(shown.correct for shown in self.demonstrations) / drawn if drawn else None,
            "demonstrations": kept,
            **self._verdicts(kept),
            "entropy": _mean(entropy),
            "response_length": _mean(lengths),
            **{name: value for name, value in updated.items() if name not in ("trained_tokens", "forward", "backward")},
            "tokens": tokens,
            "seconds": seconds,
            "tokens_per_second": {name: round(count / max(seconds[name], 1e-9)) for name, count in phases.items()},
        }

    def _verdicts(self, kept: int) -> dict[str, Any]:
        """How many responses got which verdict, and the share of demonstrations that only repeat y*."""
        plain = sum((judged.verdicts for judged in self.judged), Counter())
        if not plain:
            return {}
        privileged = sum((shown.verdicts for shown in self.demonstrations), Counter())
        echoes = sum(shown.echoes for shown in self.demonstrations)
        return {
            "verdicts": dict(plain),
            "privileged_verdicts": dict(privileged),
            "echo_share": echoes / kept if kept else None,
        }


def _mean(values: Tensor) -> float | None:
    """None where a step drew or scored nothing."""
    return float(values.float().mean()) if len(values) else None
