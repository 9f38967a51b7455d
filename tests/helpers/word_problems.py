"""Simple word problems with worked solutions: python tests/helpers/word_problems.py FILE [count] [seed].

Two in three ask for a number that is there to read, one for a sum. SmolLM2-135M-Instruct reads one number in three, and
adds almost never unless it sees the solution: sums are its cliffs.
"""

import csv
import random
import sys
from pathlib import Path

NAMES, THINGS = ("Ann", "Ben", "Cleo", "Dan", "Eve"), ("pens", "apples", "coins", "books", "stamps")
SUMS = 1 / 3


def write_word_problems(path: Path, count: int = 200, seed: int = 0) -> None:
    """A CSV with the columns question, solution and answer; every problem once."""
    rng, rows = random.Random(seed), {}
    while len(rows) < count:
        (one, other), thing, (a, b) = rng.sample(NAMES, 2), rng.choice(THINGS), rng.sample(range(2, 10), 2)
        told = f"{one} has {a} {thing} and {other} has {b} {thing}."
        if rng.random() < SUMS:
            question, answer = f"How many {thing} do they have together?", a + b
            solution = f"{a} + {b} = {answer}, so they have {answer} {thing}."
        else:
            question, answer, solution = f"How many {thing} does {other} have?", b, f"{other} has {b} {thing}."
        rows[f"{told} {question}"] = (solution, answer)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["question", "solution", "answer"])
        table.writerows((text, *rest) for text, rest in rows.items())


if __name__ == "__main__":
    write_word_problems(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
