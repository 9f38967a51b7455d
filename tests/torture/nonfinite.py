"""NaN and infinities put into rewards, log-probs, gradients and weights at a step: the run stops there, by name.

After each stop the last good checkpoint must carry the run, without the fault, to the bytes of a run that never had
one.
"""

import contextlib
import io
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import torch

import hdpo.learning.trainer
import hdpo.learning.update
from hdpo.cli import main
from hdpo.learning.trainer import Trainer
from hdpo.study.study import load_study
from hdpo.tasks.countdown import CountdownTask
from helpers.studies import ROOT, write_study
from torture.config_fuzz import tally

RUN, SEED, STEPS = "hdpo-drifting-0.1", 1, 4
ARGUMENTS = ("--run", RUN, "--seed", str(SEED))
VALUES = (math.nan, math.inf, -math.inf)


@contextlib.contextmanager
def bad_rewards(trainer: Trainer, value: float) -> Iterator[None]:
    with patch.object(CountdownTask, "reward", lambda *_: value):
        yield


@contextlib.contextmanager
def bad_log_probs(trainer: Trainer, value: float) -> Iterator[None]:
    """Of one token, where the policy is trained."""
    original = hdpo.learning.update.token_logp

    def token_logp(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return original(logits, tokens).index_fill(0, torch.tensor([0]), value)

    with patch.object(hdpo.learning.update, "token_logp", token_logp):
        yield


@contextlib.contextmanager
def bad_gradients(trainer: Trainer, value: float) -> Iterator[None]:
    """Of one weight."""
    parameter = next(trainer.policy.parameters())
    handle = parameter.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([0]), value))
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def bad_weights(trainer: Trainer, value: float) -> Iterator[None]:
    """One weight of the last matrix, before the step."""
    with torch.no_grad():
        list(trainer.policy.parameters())[-1].view(-1)[0] = value
    yield


@contextlib.contextmanager
def bad_optimizer(trainer: Trainer, value: float) -> Iterator[None]:
    """A learning rate that blows the weights up at the end of the step."""
    with patch.object(hdpo.learning.trainer, "learning_rate", lambda *_: value):
        yield


# Fault, and what the line must name.
FAULTS: dict[str, tuple[Callable, str]] = {
    "rewards": (bad_rewards, "rewards"),
    "log-probs": (bad_log_probs, "loss"),
    "gradients": (bad_gradients, "gradient norm"),
    "weights before a step": (bad_weights, "log-probabilities of the sampled tokens"),
    "weights after a step": (bad_optimizer, "weights"),
}


def at_step(wanted: int, fault: Callable, value: float) -> contextlib.AbstractContextManager:
    """Inside, `Trainer.step` has the fault at one step."""
    original = Trainer.step

    def step(self: Trainer, number: int) -> dict:
        with fault(self, value) if number == wanted else contextlib.nullcontext():
            return original(self, number)

    return patch.object(Trainer, "step", step)


def train(study: str) -> tuple[int, str]:
    """Exit code and stderr's lines of ours."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main(["train", study, *ARGUMENTS])
    return code, "".join(line for line in err.getvalue().splitlines(keepends=True) if "hdpo: " in line)


def small_study(folder: Path, base: Path) -> Path:
    """A study of four short steps, a checkpoint after each second."""
    short = {"train__steps": STEPS, "train__checkpoint_every": 2, "train__prompts_per_step": 4}
    evaluate = {"every": STEPS, "samples": 2, "test_samples": 2, "ks": [1]}
    return write_study(folder, model__path=str(base), evaluate=evaluate, **short)


def weights(study: Path) -> bytes:
    return (load_study(study).run(RUN, SEED).folder / "model" / "model.safetensors").read_bytes()


def stop_and_resume(folder: Path, base: Path, expected: bytes, what: str, value: float, step: int) -> str | None:
    """What went wrong with one fault, None if nothing did."""
    fault, name = FAULTS[what]
    with contextlib.chdir(folder):
        study = small_study(folder, base)
        with at_step(step, fault, value):
            code, line = train(str(study))
        if code != 2 or line.count("\n") != 1 or f"run {RUN} seed {SEED} step {step}: " not in line or name not in line:
            return f"{what} {value} at step {step}: exit code {code}, {line!r}"
        run = load_study(study).run(RUN, SEED)
        saved = [f"step-{count:06d}" for count in (2,) if count <= step]
        if sorted(path.name for path in run.state_folder.glob("step-*")) != saved or run.folder.exists():
            return f"{what} {value} at step {step}: {[*run.state_folder.iterdir()]}"
        code, line = train(str(study))
        return (
            None if code == 0 and weights(study) == expected else f"{what} {value}, resumed: exit code {code}, {line}"
        )


def run(quick: bool, base: Path | None = None) -> list[dict]:
    """Rows for the torture table; `base`: a folder with a base model, else one is trained."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="hdpo-numbers-") as name:
        top = Path(name)
        if base is None:
            from hdpo.run.base_model import train_base

            base = top / "base"
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                train_base(load_study(ROOT / "config/smoke.yaml"), base)
        (top / "clean").mkdir()
        with contextlib.chdir(top / "clean"):
            study = small_study(top / "clean", base)
            assert train(str(study)) == (0, "")
            expected = weights(study)
        for i, what in enumerate(FAULTS):
            cases = (
                [(VALUES[i % 3], 1 + i % 3)] if quick else [(value, step) for value in VALUES for step in range(STEPS)]
            )
            failures = []
            for j, (value, step) in enumerate(cases):
                folder = top / f"{i}-{j}"
                folder.mkdir()
                failures.append(stop_and_resume(folder, base, expected, what, value, step))
            rows.append(tally(f"NaN, ±inf in {what}", len(cases), [failure for failure in failures if failure]))
    return rows
