"""Expand, then sharpen: HDPO, and former cliffs come back into the prompts some steps after they were distilled.

The paper names it as future work: distillation opens a cliff, and GRPO then sharpens what was opened. Returning prompts
take the places of the last fresh ones. A cliff without a correct demonstration does not return.
"""

from typing import TYPE_CHECKING

from hdpo.learning.cliffs import cliff_mask
from hdpo.methods.hdpo import HDPO
from hdpo.study.schema import Count

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study


class ExpandThenSharpen(HDPO):
    """HDPO with a queue of distilled cliffs."""

    name = "expand-then-sharpen"

    delay: Count = 20  # steps until a distilled cliff comes back
    returning: Count = 4  # prompts of a step that may be such

    def step(self, trainer: "Trainer") -> None:
        due: dict[str, int] = trainer.memory  # problem and step of its return, in order
        back = [name for name, step in due.items() if step <= trainer.t][: self.returning]
        known = {problem.id: problem for problem in trainer.problems}
        problems = trainer.draw()
        fresh = [problem for problem in problems if problem.id not in back]
        problems = [*fresh[: len(problems) - len(back)], *(known[name] for name in back)]
        rollouts = trainer.sample(problems)
        rewards = trainer.score(problems, rollouts)
        cliffs = [x for x, fails in zip(problems, cliff_mask(rewards), strict=True) if fails][: self.max_cliffs]
        demonstrations = trainer.demonstrate(cliffs, self.privileged_rollouts)
        for learn in trainer.updates():
            learn.policy(self.surrogate, rollouts, self.advantages(rewards), self.clip)
            learn.distill(self.divergence, demonstrations, self.top_k, self.distill_weight)
        for name in back:
            del due[name]
        due.update({name: trainer.t + self.delay for name in demonstrations.ids if name not in due})

    def check(self, study: "Study") -> None:
        super().check(study)
        if self.returning > study.train.prompts_per_step:
            raise ValueError("expand-then-sharpen: returning is larger than train.prompts_per_step")
