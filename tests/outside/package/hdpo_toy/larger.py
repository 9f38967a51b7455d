"""Larger: name the larger of two numbers, as in `12 40 ?`."""

import random
from itertools import permutations
from typing import Literal

from hdpo.study.schema import Natural
from hdpo.study.task import TaskConfig
from hdpo.tasks import SPLITS, Problem, Task


class Larger(TaskConfig):
    """The `task` section of a study file."""

    name: Literal["larger"]
    seed: Natural  # of the order of the problems

    def load(self, study):
        return LargerTask(self)


class LargerTask(Task):
    """All pairs of the numbers 0 to 63 in random order; each split is a slice of them."""

    def __init__(self, config):
        pairs = list(permutations(range(64), 2))
        random.Random(config.seed).shuffle(pairs)
        self.splits, start = {}, 0
        for split in SPLITS:
            end = start + getattr(config.problems, split)
            self.splits[split] = [problem(*pair) for pair in pairs[start:end]]
            start = end

    def problems(self, split):
        return self.splits[split]

    def student_prompt(self, problem):
        return f"{problem.question} ?"

    def privileged_prompt(self, problem):
        return f"{problem.question} ! {problem.hint} ?"

    def reward(self, problem, response):
        return float(response == problem.hint)


def problem(a, b):
    return Problem(id=f"{a},{b}", question=f"{a} {b}", hint=str(max(a, b)), difficulty=1)
