"""The arguments of `HDPOTrainer`: those of TRL's `GRPOConfig`, and the paper's."""

import math
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from hdpo.system.errors import UserError

HINT_TEMPLATE = """{prompt}

Here is a correct solution. Understand it, then answer in your own words.

{hint}"""


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class HDPOConfig(GRPOConfig):
    """`GRPOConfig` with a distillation term (arXiv:2603.23871, section 3.2).

    TRL's own `top_k` is a setting of its sampler, so the divergence's is called `distill_top_k`.

    Raises:
        UserError: an argument is out of its range, or one of TRL's does not go with the distillation term.
    """

    distill_weight: float = _option(0.1, "λ, the weight of the distillation term. 0 is GRPO: no teacher is asked.")
    teacher: str = _option("drifting", "Who sees the hints: `drifting`, the current weights, or `frozen`, the initial.")
    privileged_rollouts: int = _option(
        4, "Privileged rollouts of each cliff prompt, before those that fail are dropped."
    )
    max_cliffs: int = _option(32, "Cliff prompts of a step, over all processes, that the teacher is asked about.")
    distill_top_k: int = _option(64, "K: the teacher's logits that the divergence looks at.")
    tail: str = _option("exact", "Weight of the student's mass outside these: `exact` is ½ ln 2, `paper` is ln 2.")
    hint_column: str = _option("hint", "Column of the data set with y*, a solution or an answer.")
    hint_template: str = _option(
        HINT_TEMPLATE, "The privileged prompt x ⊕ y*, or its last message, with {prompt} and {hint}."
    )
    success_reward: str | None = _option(
        None,
        "Name of the reward function that is 1 for a right completion and else 0. None: the sum of all.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.distill_weight) and self.distill_weight >= 0):
            raise UserError(f"distill_weight: expected a number that is not negative, got {self.distill_weight}")
        for name, choices in {"teacher": ("drifting", "frozen"), "tail": ("exact", "paper")}.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name}: expected {' or '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("privileged_rollouts", "max_cliffs", "distill_top_k"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        try:
            if "\0" not in self.hint_template.format(prompt="", hint="\0"):
                raise KeyError("hint")
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"hint_template: expected a text with {{prompt}} and {{hint}} (at {error})") from None
        if self.distill_weight > 0:
            self._check_with_trl()

    def _check_with_trl(self) -> None:
        if self.use_liger_kernel:
            raise UserError("use_liger_kernel: Liger replaces the forward pass that HDPO needs; set it to False")
        if self.steps_per_generation != self.gradient_accumulation_steps:
            raise UserError(
                f"steps_per_generation ({self.steps_per_generation}) must equal gradient_accumulation_steps "
                f"({self.gradient_accumulation_steps}): the distillation term is a mean over the tokens of one whole "
                "generation, so an update must see all of it; for several updates of a generation use num_iterations"
            )
        if self.remove_unused_columns:
            raise UserError(f"remove_unused_columns would drop the column {self.hint_column!r}; set it to False")
