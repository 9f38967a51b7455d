"""Simple word problems with worked solutions: python tests/helpers/word_problems.py FILE [count] [seed]."""

import csv
import random
import sys
from pathlib import Path

STORIES = (
    ("{who} has {a} {thing} and gets {b} more. How many {thing} does {who} have now?", "+"),
    ("{who} has {a} {thing} and gives away {b}. How many {thing} are left?", "-"),
    ("{who} has {a} boxes with {b} {thing} each. How many {thing} are there?", "*"),
)
NAMES, THINGS = ("Ann", "Ben", "Cleo", "Dan", "Eve"), ("pens", "apples", "coins", "books", "stamps")


def write_word_problems(path: Path, count: int = 200, seed: int = 0) -> None:
    """A CSV with the columns question, solution and answer; every problem once."""
    rng, rows = random.Random(seed), {}
    while len(rows) < count:
        story, sign = rng.choice(STORIES)
        a, b = sorted((rng.randint(2, 12), rng.randint(2, 12)), reverse=True)
        result = {"+": a + b, "-": a - b, "*": a * b}[sign]
        text = story.format(who=rng.choice(NAMES), thing=rng.choice(THINGS), a=a, b=b)
        rows[text] = (f"We compute {a} {sign} {b} = {result}. The answer is {result}.", result)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["question", "solution", "answer"])
        table.writerows((text, *rest) for text, rest in rows.items())


if __name__ == "__main__":
    write_word_problems(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
