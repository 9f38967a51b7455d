"""Countdown chains: drawing them at random, rewriting them into equal ones, and replaying them strictly."""

import operator
import random
from dataclasses import dataclass

MAX_NUMBER = 16  # of a problem's numbers
MAX_VALUE = 63  # of every intermediate result and of the target
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}
NUMERALS = {str(number): number for number in range(100)}  # one way to write each number


def apply(left: int, sign: str, right: int) -> int | None:
    """Result of one step, or None if the rules forbid it: only integers in 1..MAX_VALUE exist."""
    if sign == "/" and (right == 0 or left % right):
        return None
    value = OPERATORS[sign](left, right)
    return value if 1 <= value <= MAX_VALUE else None


@dataclass(frozen=True)
class Step:
    """One operation on nodes of the chain's tree: leaves are 0..k−1, the result of step i is node k+i."""

    left: int
    operator: str
    right: int


@dataclass(frozen=True)
class Chain:
    """A way to combine all numbers into one: k numbers, k−1 steps."""

    numbers: tuple[int, ...]
    steps: tuple[Step, ...]

    def values(self) -> list[int]:
        """Values of all nodes, [2k−1]; the last one is the target."""
        values = list(self.numbers)
        for step in self.steps:
            value = apply(values[step.left], step.operator, values[step.right])
            assert value is not None  # a chain holds allowed steps only
            values.append(value)
        return values

    @property
    def target(self) -> int:
        return self.values()[-1]

    def step_texts(self) -> list[str]:
        values = self.values()
        return [
            f"{values[step.left]} {step.operator} {values[step.right]} = {result}"
            for step, result in zip(self.steps, values[len(self.numbers) :], strict=True)
        ]

    def text(self) -> str:
        return " , ".join(self.step_texts())


def in_hand(chain: Chain, hand: str | None) -> Chain:
    """The chain with the `larger` or the `smaller` operand of + and * first; None: as it is."""
    if hand is None:
        return chain
    values, steps = chain.values(), []
    for step in chain.steps:
        ascending = values[step.left] <= values[step.right]
        swaps = step.operator in "+*" and ascending == (hand == "larger")
        steps.append(Step(step.right, step.operator, step.left) if swaps else step)
    return Chain(chain.numbers, tuple(steps))


def draw_chain(rng: random.Random, k: int) -> Chain:
    """A random chain over k random numbers; redraws until every step is allowed."""
    while True:
        numbers = tuple(rng.randint(1, MAX_NUMBER) for _ in range(k))
        values, pool, steps = list(numbers), list(range(k)), []
        while len(pool) > 1:
            left, right = rng.sample(pool, 2)
            sign = rng.choice(tuple(OPERATORS))
            value = apply(values[left], sign, values[right])
            if value is None:
                break
            pool = [node for node in pool if node not in (left, right)] + [len(values)]
            values.append(value)
            steps.append(Step(left, sign, right))
        else:
            return Chain(numbers, tuple(steps))


def rewrite(rng: random.Random, chain: Chain) -> Chain:
    """An equal chain written differently: operands of + and * commuted, independent steps reordered."""
    k = len(chain.numbers)
    pending, renamed = list(range(len(chain.steps))), {leaf: leaf for leaf in range(k)}
    steps: list[Step] = []
    while pending:
        i = rng.choice([i for i in pending if {chain.steps[i].left, chain.steps[i].right} <= renamed.keys()])
        left, right = renamed[chain.steps[i].left], renamed[chain.steps[i].right]
        if chain.steps[i].operator in "+*" and rng.random() < 0.5:
            left, right = right, left
        renamed[k + i] = k + len(steps)
        steps.append(Step(left, chain.steps[i].operator, right))
        pending.remove(i)
    return Chain(chain.numbers, tuple(steps))


def solves(numbers: tuple[int, ...], target: int, response: str) -> bool:
    """Whether `response` is a correct chain: every number used once, every step right, the target reached.

    The grammar is exact: steps `a op b = c` joined by ` , `, decimal integers without leading zeros.
    """
    pool = list(numbers)
    steps = response.split(" , ")
    if len(steps) != len(numbers) - 1:
        return False
    for step in steps:
        parts = step.split(" ")
        if len(parts) != 5 or parts[3] != "=" or parts[1] not in OPERATORS:
            return False
        left, right, claimed = (NUMERALS.get(parts[i]) for i in (0, 2, 4))
        if left is None or right is None or claimed is None or apply(left, parts[1], right) != claimed:
            return False
        for operand in (left, right):
            if operand not in pool:
                return False
            pool.remove(operand)
        pool.append(claimed)
    return pool == [target]
