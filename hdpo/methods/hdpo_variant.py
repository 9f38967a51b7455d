"""HDPO with one part changed: what the paper's choices are worth. With the defaults it is HDPO.

`hint: other` shows another problem's solution, and `none` no hint at all: then correct plain rollouts are distilled,
and a drifting teacher differs from the student by the cut to its top k alone.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.jsd import jsd_k
from hdpo.learning.kl import forward_kl, reverse_kl
from hdpo.methods.hdpo import HDPO

if TYPE_CHECKING:
    from torch import Tensor

    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study
    from hdpo.tasks import Problem


class HDPOVariant(HDPO):
    """HDPO, its hint, filter, divergence, teacher and prompts each free to change."""

    name = "hdpo-variant"

    teacher: Literal["drifting", "frozen", "ema"] = "drifting"  # type: ignore[assignment]  # ema: a moving average
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99  # of one step
    tail: Literal["exact", "paper", "none"] = "exact"  # type: ignore[assignment]  # none: no mass outside the top k
    hint: Literal["own", "other", "none"] = "own"
    filtered: bool = True  # keep R = 1 only
    loss: Literal["jsd", "forward", "reverse"] = "jsd"  # forward: KL(teacher ‖ student)
    prompts: Literal["cliffs", "hardest", "all"] = "cliffs"  # hardest: the half with the fewest successes

    def step(self, trainer: "Trainer") -> None:
        problems = trainer.draw()
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        chosen = [problems[i] for i in self.chosen(rewards)[: self.max_cliffs]]
        shown = [self.shown(trainer, problem) for problem in chosen]
        demonstrations = trainer.demonstrate(chosen, self.privileged_rollouts, shown, self.filtered)
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
            learn.distill(self.divergence, demonstrations, self.top_k, self.distill_weight)

    def chosen(self, rewards: "Tensor") -> list[int]:
        """Rows of the prompts to distil, from rewards [P, G]."""
        solved = rewards.mean(1).tolist()
        order = sorted(range(len(solved)), key=lambda i: solved[i])
        hardest = sorted(order[: len(order) // 2])
        cliffs = [i for i, fails in enumerate(cliff_mask(rewards)) if fails]
        return {"cliffs": cliffs, "hardest": hardest, "all": list(range(len(solved)))}[self.prompts]

    def shown(self, trainer: "Trainer", problem: "Problem") -> str:
        """What the teacher sees; `other`: the hint of the next problem, of the same difficulty where there is one."""
        if self.hint == "none":
            return trainer.task.student_prompt(problem)
        if self.hint == "other":
            alike = [other for other in trainer.problems if other.difficulty == problem.difficulty]
            alike = alike if len(alike) > 1 else list(trainer.problems)
            place = [other.id for other in alike].index(problem.id)
            problem = replace(problem, hint=alike[(place + 1) % len(alike)].hint)
        return trainer.task.privileged_prompt(problem)

    def divergence(self, student_logits: "Tensor", teacher_logp: "Tensor", teacher_tokens: "Tensor") -> "Tensor":
        if self.loss == "jsd":
            return jsd_k(student_logits, teacher_logp, teacher_tokens, self.tail)
        return {"forward": forward_kl, "reverse": reverse_kl}[self.loss](student_logits, teacher_logp, teacher_tokens)

    @property
    def uses_hints(self) -> bool:
        return super().uses_hints and self.hint != "none"

    @property
    def teacher_decay(self) -> float | None:
        return self.ema_decay if self.teacher == "ema" else None

    def check(self, study: "Study") -> None:
        super().check(study)
        if self.teacher == "ema" and study.model.dtype != "float32":
            raise ValueError("hdpo-variant: the moving average of teacher: ema needs model.dtype float32")
