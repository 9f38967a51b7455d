"""One version of the kit as a process that takes a training step for each line it reads (see `benchmarks.versions`).

`python -P side.py BASE CLIFFS` runs in a checkout that is on PYTHONPATH, with the base model in the folder BASE. A
line names one of `CASES`; the answer is a line of JSON with seconds by phase, and tokens. Nothing of the kit is
imported before the process runs, so that it can be version 0.1, too.
"""

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

STUDY = Path("config/small.yaml")
# Case: the run, and whether its cliffs are forced.
CASES = {"GRPO": ("grpo", False), "GRPO on cliffs": ("grpo", True), "HDPO on cliffs": ("hdpo-drifting-0.1", True)}
SEED = 1


def study_module(checkout: Path) -> str:
    """The module that reads study files, in this version or in version 0.1."""
    return "hdpo.study.study" if (checkout / "hdpo/study").is_dir() else "hdpo.config"


@dataclass
class ForcedCliffs:
    """A scorer under which exactly the first `cliffs` prompts of a step are cliffs.

    Rewards of privileged rollouts are left alone, so the share of them that is kept is the policy's own on these
    problems. They are known by their number per prompt, which must not be that of the student's.
    """

    scorer: Any
    group: int  # student rollouts per prompt
    cliffs: int = 0

    def judge(self, problems: list, completions: list) -> Any:
        judged = self.scorer.judge(problems, completions)
        rewards = judged.rewards
        if rewards.shape[1] == self.group:
            rewards[: self.cliffs] = 0
            rewards[self.cliffs :][rewards[self.cliffs :].sum(1) == 0, 0] = 1
        return judged


def still(study: Any, **train: Any) -> Any:
    """The study at a learning rate of 1e-12, so that repeated steps do the same work.

    `train` replaces keys of the study's `train` section.
    """
    optimizer = study.train.optimizer.model_copy(update={"learning_rate": 1e-12})
    return study.model_copy(update={"train": study.train.model_copy(update={"optimizer": optimizer} | train)})


def main(base: str, cliffs: int) -> None:
    """Answer until the input ends."""
    package = Path(import_module("hdpo").__file__)
    if not package.is_relative_to(Path.cwd()):
        sys.exit(f"hdpo is imported from {package.parent}, not from {Path.cwd()}")
    module = study_module(Path.cwd())
    is_old = module == "hdpo.config"
    load_study = import_module(module).load_study
    trainer_class = import_module("hdpo.trainer" if is_old else "hdpo.learning.trainer").Trainer
    import_module("hdpo.allocator" if is_old else "hdpo.system.allocator").keep_freed_memory()
    import_module("torch").set_num_threads(1)
    study = still(load_study(STUDY))
    study = study.model_copy(update={"model": study.model.model_copy(update={"path": base})})
    trainers = {}
    for case, (run, is_forced) in CASES.items():
        trainers[case] = trainer_class(study.run(run, SEED))
        if is_forced:
            trainers[case].scorer = ForcedCliffs(trainers[case].scorer, study.train.rollouts_per_prompt, cliffs)
    steps = dict.fromkeys(CASES, 0)
    for line in sys.stdin:
        case = line.strip()
        record = trainers[case].step(steps[case])
        steps[case] += 1
        print(json.dumps({key: record[key] for key in ("seconds", "tokens")}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
