"""Whether a study's problems can be had at all: asked before anything is planned, launched or loaded."""

from functools import cache
from itertools import combinations_with_replacement, permutations

from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.tasks import SPLITS
from hdpo.tasks.chains import MAX_NUMBER, MAX_VALUE, OPERATORS, apply
from hdpo.tasks.config import Written
from hdpo.tasks.countdown import SPLIT_PERCENT, Countdown, _apportion, split_of

ENUMERATED = 3  # the largest size of Countdown whose problems we count one by one


def check_task(study: Study) -> None:
    """Refuse problems that are not there. Downloads nothing.

    Raises:
        UserError: too few problems exist, or local data cannot be used.
    """
    task = study.task
    if isinstance(task, Written) and task.is_local:
        task.load(study)
    elif isinstance(task, Countdown):
        for split in SPLITS:
            mixture = (split != "train" and task.evaluation_mixture) or task.mixture
            for size, count in _apportion(mixture, getattr(task.problems, split)).items():
                if count > (most := most_problems(size, split)):
                    raise UserError(
                        f"task.problems.{split}: {count} distinct problems of size {size} wanted, at most {most} exist;"
                        f" lower the share of size {size} or task.problems.{split}"
                    )


@cache
def most_problems(size: int, split: str) -> int:
    """How many Countdown problems of a size a split can have: counted, or for large sizes a bound from above."""
    numbers = list(combinations_with_replacement(range(1, MAX_NUMBER + 1), size))
    if size <= ENUMERATED:
        return sum(split_of(some, target) == split for some in numbers for target in reachable(some))
    share = 1.02 * SPLIT_PERCENT[SPLITS.index(split)] / 100  # a hash decides the split: shares are not quite exact
    return int(share * len(numbers) * MAX_VALUE)  # nearly every target can be reached


@cache
def reachable(numbers: tuple[int, ...]) -> frozenset[int]:
    """The targets that all of the numbers, in ascending order, can be combined into."""
    if len(numbers) == 1:
        return frozenset(numbers)
    found: set[int] = set()
    for i, j in permutations(range(len(numbers)), 2):
        rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
        values = (apply(numbers[i], sign, numbers[j]) for sign in OPERATORS)
        found.update(*(reachable(tuple(sorted([*rest, value]))) for value in values if value is not None))
    return frozenset(found)
