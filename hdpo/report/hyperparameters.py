"""The paper's Table 2: every hyperparameter with the paper's value and this study's, read from their study files."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from hdpo.study.study import Study

TAILS = {"exact": "½·P_rest·ln 2", "paper": "P_rest·ln 2"}
NOT_STATED = "not stated"
BASE_DEFAULT = "[base]"  # the paper is silent; its base framework's default


def hyperparameter_table(paper: Study, study: Study) -> pd.DataFrame:
    """Columns: group, hyperparameter, paper, this study, and `≠` where the two differ."""
    rows = []
    for group, label, value, stated in ROWS:
        own, configured = _text(value(study)), _text(value(paper))
        if stated in (None, BASE_DEFAULT):
            differs = configured != own
            stated = f"{configured} {stated or ''}".rstrip()
        else:
            differs = stated not in (own, NOT_STATED)
        row = {"group": group, "hyperparameter": label, "paper": stated, "this study": own}
        rows.append(row | {"differs": "≠" if differs else ""})
    return pd.DataFrame(rows)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    return str(value)


def _model(study: Study) -> str:
    if shape := study.pretrain:
        return f"Qwen2, {shape.layers} layers × {shape.hidden_size}, trained from scratch"
    return study.model.path.removeprefix("Qwen/")


def _data(study: Study) -> str:
    if study.task.name != "countdown":
        return study.task.path.removeprefix("nvidia/")
    sizes = ", ".join(f"{k}: {100 * share:g} %" for k, share in sorted(study.task.mixture.items()))
    return f"Countdown, problems by size {sizes}"


def _split(study: Study) -> str:
    share = getattr(study.task, "train_share", None)
    return f"{100 * share:g} % / {100 * (1 - share):g} %" if share is not None else "disjoint as problems"


def _hardware(study: Study) -> str:
    gpus, threads = study.hardware.gpus, study.hardware.threads
    return f"{gpus} GPUs" if gpus else f"CPU, {threads} thread{'s' if threads > 1 else ''} per run"


# Group, label as in the paper's Table 2, value by study, and what the paper states where its config cannot say.
ROWS: list[tuple[str, str, Callable[[Study], Any], str | None]] = [
    ("model", "model", _model, None),
    ("model", "precision", lambda s: s.model.dtype, None),
    ("model", "max sequence length", lambda s: s.model.max_length, None),
    ("data", "data set", _data, None),
    ("data", "train / validation split", _split, None),
    ("data", "split seed", lambda s: s.task.seed, None),
    ("data", "validation problems", lambda s: s.task.problems.validation, None),
    ("data", "reward", lambda s: getattr(s.task, "reward", "binary, chain replayed"), None),
    ("optimiser", "AdamW β1, β2", lambda s: s.train.optimizer.betas, None),
    ("optimiser", "AdamW ε", lambda s: s.train.optimizer.eps, None),
    ("optimiser", "learning rate", lambda s: s.train.optimizer.learning_rate, None),
    ("optimiser", "weight decay", lambda s: s.train.optimizer.weight_decay, None),
    ("optimiser", "gradient-norm clip", lambda s: s.train.optimizer.max_grad_norm, None),
    ("schedule", "warm-up steps, linear", lambda s: s.train.optimizer.warmup_steps, None),
    ("schedule", "warm-up start, × learning rate", lambda s: s.train.optimizer.warmup_start, None),
    ("schedule", "training steps", lambda s: s.train.steps, None),
    ("GRPO", "prompts per step", lambda s: s.train.prompts_per_step, None),
    ("GRPO", "rollouts per prompt", lambda s: s.train.rollouts_per_prompt, None),
    ("GRPO", "rollouts per step", lambda s: s.train.prompts_per_step * s.train.rollouts_per_prompt, None),
    ("GRPO", "baseline", lambda s: s.train.baseline.replace("_", "-"), None),
    ("GRPO", "advantage normalisation", lambda s: s.train.normalize_advantages, BASE_DEFAULT),
    ("GRPO", "ratio clip ε", lambda s: s.train.clip, None),
    ("GRPO", "updates per batch", lambda s: s.train.updates_per_batch, BASE_DEFAULT),
    ("GRPO", "reference KL", lambda s: "none", None),
    ("GRPO", "temperature", lambda s: s.train.temperature, None),
    ("GRPO", "sampling backend", lambda s: s.train.backend, None),
    ("distillation", "λ", lambda s: s.sweep.distill_weights, None),
    ("distillation", "teacher", lambda s: s.sweep.teachers, None),
    ("distillation", "divergence", lambda s: "JSD per token, global token count", None),
    ("distillation", "top-k logits", lambda s: s.distill.top_k, None),
    ("distillation", "mass outside top-k", lambda s: TAILS[s.distill.tail], TAILS["paper"]),
    ("distillation", "cliff prompt", lambda s: "reward sum = 0", None),
    ("distillation", "teacher success", lambda s: "reward ≥ 1", None),
    ("distillation", "max cliff prompts per step", lambda s: s.distill.max_cliffs, None),
    ("distillation", "privileged rollouts per cliff", lambda s: s.distill.privileged_rollouts, NOT_STATED),
    ("distillation", "privileged input y*", lambda s: s.task.hint, NOT_STATED),
    ("evaluation", "steps between evaluations", lambda s: s.evaluate.every, None),
    ("evaluation", "k of pass@k", lambda s: s.evaluate.ks, None),
    ("evaluation", "samples per problem, during training", lambda s: s.evaluate.samples, NOT_STATED),
    ("evaluation", "test problems, final weights", lambda s: s.task.problems.test, "none"),
    ("runs", "seeds", lambda s: s.seeds, None),
    ("runs", "hardware of one run", _hardware, None),
]
