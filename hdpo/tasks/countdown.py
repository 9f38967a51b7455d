"""Countdown, the small world's task: reach a target from k numbers, using each exactly once."""

import hashlib
import random
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Literal

from hdpo.study.schema import Hand, Mixture, Natural, Share
from hdpo.study.task import TaskConfig
from hdpo.system.errors import UserError
from hdpo.tasks import SPLITS, Problem, Task
from hdpo.tasks.chains import MAX_VALUE, Chain, draw_chain, in_hand, solves

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from hdpo.study.study import Study

# Share of all problems in each split, in SPLITS order. A problem's hash decides its split, so splits are disjoint by
# construction: training lists of any length as well as the streams of pretraining.
SPLIT_PERCENT = (60, 10, 10, 20)
SYMBOLS = ("<pad>", "<eos>", "<unk>", "+", "-", "*", "/", "=", ",", ">", "!", "?")


def problem_id(numbers: tuple[int, ...], target: int) -> str:
    """Names a problem independently of the order of its numbers."""
    return "-".join(map(str, sorted(numbers))) + f">{target}"


def split_of(numbers: tuple[int, ...], target: int) -> str:
    bucket = int.from_bytes(hashlib.sha256(problem_id(numbers, target).encode()).digest()[:8]) % 100
    for split, percent in zip(SPLITS, SPLIT_PERCENT, strict=True):
        if bucket < percent:
            return split
        bucket -= percent
    raise AssertionError("SPLIT_PERCENT does not sum to 100")


def student_prompt(numbers: tuple[int, ...], target: int) -> str:
    return " ".join(map(str, numbers)) + f" > {target} ?"


def privileged_prompt(question: str, hint: str) -> str:
    """The student's prompt with the hint before its closing mark."""
    return question.removesuffix("?") + f"! {hint} ?"


def hint_text(chain: Chain, kind: str) -> str:
    """y*: the whole reference chain (`solution`) or its last step (`answer`)."""
    return chain.text() if kind == "solution" else chain.step_texts()[-1]


class Countdown(TaskConfig):
    """Reach a target from a few numbers: the small world's task."""

    name: Literal["countdown"]
    seed: Natural  # of the problem set, not of a run
    mixture: Mixture  # share of each problem size k
    evaluation_mixture: Mixture | None = None  # the same among all but training problems; null: as `mixture`
    hand: Hand | None = None  # in which hints are written; null: either order
    wrong_labels: Share | None = None  # training problems that show another target than the one that is rewarded

    def load(self, study: "Study") -> "CountdownTask":
        return CountdownTask(self)


class CountdownTask(Task):
    """Problems are drawn from the config's seed alone, the same in every process and run."""

    def __init__(self, config: Countdown) -> None:
        self.config = config
        self._drawn = cache(self._draw)

    def problems(self, split: str) -> tuple[Problem, ...]:
        return self._drawn(split)

    def _draw(self, split: str) -> tuple[Problem, ...]:
        """The split's problems, sizes in the mixture's proportions, in random order.

        Raises:
            UserError: fewer distinct problems of a size exist in the split than asked for.
        """
        total = getattr(self.config.problems, split)
        rng = random.Random(f"{self.config.seed}/{split}")
        drawn: dict[str, Problem] = {}
        mixture = (split != "train" and self.config.evaluation_mixture) or self.config.mixture
        for k, count in _apportion(mixture, total).items():
            wanted, misses = len(drawn) + count, 0
            while len(drawn) < wanted:
                chain = draw_chain(rng, k)
                problem = chain.numbers, chain.target
                name = problem_id(*problem)
                if name in drawn or split_of(*problem) != split:
                    misses += 1
                    if misses > 200 * (count + 1000):
                        raise UserError(
                            f"task.problems.{split}: {count} distinct problems of size {k} do not exist in this split;"
                            f" lower the share of size {k} or task.problems.{split}"
                        )
                    continue
                hint = hint_text(in_hand(chain, self.config.hand), self.config.hint)
                drawn[name] = Problem(name, student_prompt(*problem), hint, difficulty=k)
        problems = list(drawn.values())
        if split == "train" and self.config.wrong_labels:
            problems = [mislabelled(self.config.seed, problem, self.config.wrong_labels) for problem in problems]
        rng.shuffle(problems)
        return tuple(problems)

    def student_prompt(self, problem: Problem) -> str:
        return problem.question

    def privileged_prompt(self, problem: Problem) -> str:
        return privileged_prompt(problem.question, problem.hint)

    def reward(self, problem: Problem, response: str) -> float:
        numbers, target = problem.question.removesuffix(" ?").split(" > ")
        return float(solves(tuple(map(int, numbers.split())), int(problem.answer or target), response))


def mislabelled(seed: int, problem: Problem, share: float) -> Problem:
    """The problem, or, for a `share` of problems, one that shows another target: only y* reaches what is rewarded."""
    rng = random.Random(f"{seed}/wrong label/{problem.id}")
    if rng.random() >= share:
        return problem
    numbers, target = problem.question.removesuffix(" ?").split(" > ")
    shown = rng.choice([value for value in range(1, MAX_VALUE + 1) if value != int(target)])
    return replace(problem, id=f"{problem.id} shown as {shown}", question=f"{numbers} > {shown} ?", answer=target)


def _apportion(mixture: dict[int, float], total: int) -> dict[int, int]:
    """Counts per size that sum to `total`, by largest remainder."""
    counts = {k: int(weight * total) for k, weight in mixture.items()}
    by_remainder = sorted(mixture, key=lambda k: counts[k] - mixture[k] * total)
    for k in by_remainder[: total - sum(counts.values())]:
        counts[k] += 1
    return counts


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """One token per number 0..MAX_VALUE and per symbol: a vocabulary of 76."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = [*SYMBOLS, *(str(number) for number in range(MAX_VALUE + 1))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
