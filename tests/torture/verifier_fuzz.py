"""Responses made to fool or break Countdown's verifier: reward 1 only where a checker written apart from it agrees."""

import random
import re
import time
from collections.abc import Iterator
from fractions import Fraction

import torch

from hdpo.study.study import load_study
from hdpo.tasks import Problem
from hdpo.tasks.chains import Chain, draw_chain, rewrite
from hdpo.tasks.countdown import build_tokenizer, student_prompt
from hdpo.tasks.scoring import Scorer
from helpers.studies import ROOT, task_of
from torture.config_fuzz import tally

LONGEST = 0.25  # seconds for one Countdown response, a megabyte long or not
NUMBER = r"(0|[1-9][0-9]*)"
STEP = re.compile(rf"{NUMBER} ([-+*/]) {NUMBER} = {NUMBER}")
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else Fraction(1, 2),  # no integer: forbidden
}
MARKS = [
    *("0", "00", "-0", "+7", "7.0", "1e1", "0x7", "7_0", "٣", "３", "²", "Ⅳ", "½", "七", "\u200b7", "7\u0301"),
    *(
        "\0",
        "\x1b[31m",
        "\r",
        "\n",
        "\t",
        "\x85",
        "\u2028",
        "\u202e",
        "\N{NO-BREAK SPACE}",
        "\ud800",
        "🂡",
        "﹢",
        "−",
        "×",
    ),
    *(
        "÷",
        "＝",
        "==",
        "=",
        ":=",
        ",",
        " ,",
        ", ",
        " , ",
        "  ,  ",
        ";",
        "<eos>",
        "<pad>",
        "<unk>",
        "?",
        "!",
        ">",
        "(",
        ")",
    ),
    *(
        "**",
        "//",
        "%",
        "^",
        "9" * 400,
        "1" + "0" * 5000,
        "nan",
        "inf",
        "None",
        "__import__('os')",
        "\\frac{1}{2}",
        "{}",
    ),
]


def is_right(numbers: tuple[int, ...], target: int, response: str) -> bool:
    """The rules of Countdown over again, with exact fractions: a list of values, each step takes two and adds one."""
    values = [Fraction(number) for number in numbers]
    for text in response.split(" , "):
        step = STEP.fullmatch(text)
        if step is None or any(len(group) > 3 for group in step.groups()):
            return False
        left, right, claimed = (Fraction(int(step[i])) for i in (1, 3, 4))
        result = OPERATIONS[step[2]](left, right)
        if result != claimed or result.denominator != 1 or not 1 <= result <= 63:
            return False
        try:
            values.remove(left)
            values.remove(right)
        except ValueError:
            return False
        values.append(result)
    return values == [target]


def almost(rng: random.Random, chain: Chain) -> str:
    """A correct chain, or one with a token or character exchanged, dropped, doubled, swapped or inserted."""
    text = rewrite(rng, chain).text()
    tokens = text.split(" ")
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        i, j = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        action = rng.randrange(6)
        if action == 0:
            tokens[i] = rng.choice([str(rng.randrange(70)), rng.choice("+-*/=,"), rng.choice(MARKS)])
        elif action == 1 and len(tokens) > 1:
            del tokens[i]
        elif action == 2:
            tokens.insert(i, tokens[j])
        elif action == 3:
            tokens[i], tokens[j] = tokens[j], tokens[i]
        elif action == 4:
            tokens.insert(i, rng.choice(MARKS))
        else:
            at = rng.randrange(len(tokens[i]) + 1)
            tokens[i] = tokens[i][:at] + rng.choice(MARKS) + tokens[i][at:]
    return rng.choice((" ",) * 12 + ("", "  ", "\t", "\N{NO-BREAK SPACE}")).join(tokens)


def noise(rng: random.Random, chain: Chain) -> str:
    """Text that is no chain, or many."""
    text = chain.text()
    kind = rng.randrange(6)
    if kind == 0:
        return "".join(rng.choice("0123456789+-*/=, ") for _ in range(rng.randrange(80)))
    if kind == 1:
        return " ".join(rng.choice((str(rng.randrange(64)), *"+-*/=,")) for _ in range(rng.randrange(30)))
    if kind == 2:
        return "".join(
            chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x110000)))) for _ in range(40)
        )
    if kind == 3:
        return rng.choice(("(", "[", "{", "-", " ")) * rng.randrange(500) + text
    if kind == 4:
        return rng.choice(
            (f"{text} , {text}", f"{text} , ", f" {text}", f"{text}\n", f"{text} , {chain.target} * 1 = 1")
        )
    return rng.choice(MARKS) * rng.randrange(20) + text + rng.choice(MARKS) * rng.randrange(20)


def huge(rng: random.Random, chain: Chain) -> str:
    """About a megabyte."""
    text, mark = chain.text(), rng.choice(("9", "(", " ", " , ", "\0", "é", "1 + 1 = 2 , ", "/ "))
    return rng.choice((text + mark * 10**6, mark * 10**6 + text, f"{text} , " * 40_000, mark * (10**6 // len(mark))))[
        : 10**6
    ]


def problem_of(chain: Chain) -> Problem:
    return Problem("", student_prompt(chain.numbers, chain.target), chain.text(), len(chain.numbers))


def responses(rng: random.Random, count: int, large: int) -> Iterator[tuple[Chain, str]]:
    for i in range(count):
        chain = draw_chain(rng, rng.randint(2, 5))
        make = huge if i < large else noise if rng.random() < 0.25 else almost
        yield chain, make(rng, chain)


def fuzz_countdown(count: int, large: int) -> dict:
    """Rewards of made-up texts against `is_right`."""
    rng, task, failures, right, slowest = random.Random(0), countdown(), [], 0, 0.0
    for chain, text in responses(rng, count, large):
        problem, before = problem_of(chain), time.perf_counter()
        try:
            reward = task.reward(problem, text)
        except Exception as error:
            reward = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - before
        slowest, expected = max(slowest, seconds), float(is_right(chain.numbers, chain.target, text))
        right += expected == 1
        if reward != expected or seconds > LONGEST:
            failures.append(f"{reward} for {text[:200]!r} in {seconds:.2f} s, expected {expected}")
    return tally(f"Countdown texts, {right} of them right, slowest {1000 * slowest:.0f} ms", count, failures)


def fuzz_tokens(count: int) -> dict:
    """Rewards of token ids as a policy could sample them: any id anywhere, the end token last or missing."""
    rng, failures, right, tokenizer = random.Random(1), [], 0, build_tokenizer()
    scorer = Scorer(countdown(), tokenizer)
    ids, end = tokenizer.get_vocab(), tokenizer.eos_token_id
    words = {i: word for word, i in ids.items()}
    for start in range(0, count, 500):
        problems, completions, expected = [], [], []
        for _ in range(min(500, count - start)):
            chain = draw_chain(rng, rng.randint(2, 5))
            tokens = [ids[word] for word in rewrite(rng, chain).text().split(" ")]
            for _ in range(rng.choice((0, 1, 1, 2))):
                at, token = rng.randrange(len(tokens)), rng.randrange(len(ids))
                token = rng.choice((token, ids["<pad>"], ids["<unk>"]))
                tokens = [*tokens[:at], token, *tokens[at + rng.randrange(2) :]]
            tokens = tokens[: tokens.index(end)] if end in tokens else tokens  # a sampler stops there
            completions.append(torch.tensor([*tokens, end] if rng.random() < 0.9 else tokens, dtype=torch.long))
            problems.append(problem_of(chain))
            expected.append(is_right(chain.numbers, chain.target, " ".join(words[token] for token in tokens)))
        rewards = scorer.judge(problems, completions).rewards[:, 0].tolist()
        right += sum(expected)
        for reward, wanted, completion in zip(rewards, expected, completions, strict=True):
            if reward != float(wanted):
                failures.append(f"{reward} for {[words[i] for i in completion.tolist()]}, expected {float(wanted)}")
    return tally(f"Countdown token sequences, {right} of them right", count, failures)


def countdown():
    """The task; its own problems do not matter here."""
    return task_of(load_study(ROOT / "config/smoke.yaml"))


def run(quick: bool) -> list[dict]:
    """Rows for the torture table."""
    return [fuzz_countdown(*((5000, 5) if quick else (100_000, 100))), fuzz_tokens(2000 if quick else 20_000)]
