"""Math answers made to fool or break the reward: none scores that is wrong by construction, none outlives its time."""

import random
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from hdpo.tasks.grading import grade
from hdpo.tasks.workers import Crashed, WorkerPool
from torture.config_fuzz import tally
from torture.verifier_fuzz import MARKS


@dataclass(frozen=True)
class Quantity:
    """A value known by how it was made: a multiple q·√b·π^p of integers' roots, or a pair of rationals."""

    parts: tuple[Fraction, ...]
    root: int = 1
    pi: bool = False

    def forms(self) -> list[str]:
        """The same value in LaTeX and plain text, several ways."""
        if len(self.parts) > 1:
            return [
                "(" + ", ".join(texts) + ")"
                for texts in zip(*(_rational(part)[:3] for part in self.parts), strict=True)
            ]
        (q,) = self.parts
        unit = (f"\\sqrt{{{self.root}}}" if self.root > 1 else "") + ("\\pi" if self.pi else "")
        if not unit:
            return _rational(q)
        top, bottom = q.numerator, q.denominator
        sign, top = ("-" if top < 0 else ""), abs(top)
        forms = [f"{sign}\\frac{{{top}{unit}}}{{{bottom}}}", f"{sign}\\dfrac{{{2 * top}}}{{{2 * bottom}}}{unit}"]
        if self.root > 1 and not self.pi:
            forms.append(f"{sign}\\frac{{\\sqrt{{{top**2 * self.root}}}}}{{{bottom}}}")
        return forms

    def wrong(self, rng: random.Random) -> "Quantity":
        """Another value, by a slip that people and models make: far enough from this one for any rounding."""
        (q, *rest), step = self.parts, rng.choice((1, -1, 2, 10))
        slips = [(q + step, *rest), (2 * q, *rest), (-q, *rest), (q / 10, *rest), (1 / q, *rest)]
        if rest:
            slips += [tuple(reversed(self.parts)), (q,), (q, *rest, q)]
        others = [Quantity(parts, self.root, self.pi) for parts in slips]
        if not rest:
            others += [
                Quantity(self.parts, self.root, not self.pi),
                Quantity(self.parts, 7 if self.root == 1 else 1, self.pi),
            ]
        return rng.choice([other for other in others if other != self and 0 not in other.parts])


def _rational(q: Fraction) -> list[str]:
    sign, top, bottom = "-" if q < 0 else "", abs(q.numerator), q.denominator
    if bottom == 1:
        return [f"{sign}{top}", f"{sign}{top}.0", f"{sign}\\frac{{{3 * top}}}{{3}}"]
    forms = [
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}{top}/{bottom}",
        f"{sign}\\dfrac{{{2 * top}}}{{{2 * bottom}}}",
    ]
    return forms + ([f"{float(q):.4f}"] if 10_000 % bottom == 0 else [])


def quantity(rng: random.Random) -> Quantity:
    q = [
        Fraction(rng.choice((1, -1)) * rng.randint(1, 999), rng.choice((1, 1, 2, 3, 4, 5, 7, 8, 10, 12))) for _ in "ab"
    ]
    kind = rng.randrange(4)
    if kind == 0:
        return Quantity(tuple(q))
    return Quantity((q[0],), rng.choice((2, 3, 5, 6)) if kind == 1 else 1, pi=kind == 2)


def judged(rng: random.Random) -> tuple[str, str, str, bool]:
    """Expected answer, response, reading of it, and whether it is right by construction."""
    gold = quantity(rng)
    right = rng.random() < 0.5
    shown = rng.choice((gold if right else gold.wrong(rng)).forms())
    text = (
        rng.choice(("\\boxed{%s}", "so the answer is $\\boxed{%s}$.", "\\[ \\boxed{ %s } \\]", "x\n\n\\boxed{%s}\n"))
        % shown
    )
    reading = rng.choice(("boxed", "hf_math_verify"))
    if reading == "boxed" and rng.random() < 0.3:  # the right answer named on the way counts for nothing
        text = f"It is {gold.forms()[0]}, ${gold.forms()[0]}$, final answer is {gold.forms()[0]}. {text}"
    return gold.forms()[0], text, reading, right


def broken(rng: random.Random) -> tuple[str, str, str]:
    """A response damaged at some places, of which only a verdict in time is asked."""
    expected, text, reading, _ = judged(rng)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(text) + 1)
        mark = rng.choice(
            (*MARKS, "{", "}", "\\boxed{", "\\frac", "\\sqrt[", "$", "\\(", "\\left(", "&", "\\\\", "_", "^", "!", "|")
        )
        text = text[:at] + mark + text[at + rng.randrange(3) :]
    return expected, text, reading


BOMBS = [
    *("9^{9^{9^{9}}}", "9**9**9**9", "10^{10^{10}}", "100000000!", "(((((9!)!)!)!)!)", "\\binom{10^9}{5\\cdot 10^8}"),
    *(
        "\\frac{1}{" * 300 + "2" + "}" * 300,
        "\\sqrt{" * 2000 + "2" + "}" * 2000,
        "(" * 5000 + "1" + ")" * 5000,
        "{" * 10**5,
    ),
    *("\\boxed{" * 10**4, "1+" * 10**5 + "1", "9" * 10**6, "x^" * 9999 + "x", "(x+1)^{99999}", "\\prod_{i=1}^{10^9} i"),
    *(
        "\\sum_{n=1}^{10^{12}} \\frac{1}{n}",
        "\\int_0^1 e^{e^{e^{x^{x}}}} dx",
        "\\sin(10^{10^8})",
        "2^{2^{40}} - 2^{2^{40}}",
    ),
    *(
        "\\begin{pmatrix}" + "1 & " * 20_000 + "1\\end{pmatrix}",
        "\\{" + ", ".join(map(str, range(20_000))) + "\\}",
        "1e999999999",
    ),
    *(
        "__import__('os').system('touch pwned')",
        "\\input{/etc/passwd}",
        "(1).__class__.__base__.__subclasses__()",
        "\0" * 10**6,
    ),
]


def fuzz_math(count: int, seconds: float = 1.0, seed: int = 2) -> list[dict]:
    """Verdicts of math-verify in the reward's own worker processes; `seconds` is the time-out of one answer."""
    rng, pool = random.Random(seed), WorkerPool(grade, 2, seconds)
    known = [judged(rng) for _ in range(count * 6 // 10)]
    answers = [case[:3] for case in known] + [broken(rng) for _ in range(count - len(known))]
    verdicts = pool.map(answers)
    failures = [
        f"{verdict} for {case}"
        for case, verdict in zip(known, verdicts[: len(known)], strict=True)
        if not case[3] and verdict == "correct"
    ]
    accepted = sum(verdict == "correct" for case, verdict in zip(known, verdicts[: len(known)], strict=True) if case[3])
    died = sum(isinstance(verdict, Crashed) and "worker" in verdict.error for verdict in verdicts)
    right = sum(case[3] for case in known)
    label = f"math answers, {len(known)} known: {accepted} of {right} right ones accepted; {died} killed their worker"
    rows = [tally(label, count, failures)]
    failures, slowest = [], 0.0
    bombs = [("5", f"\\boxed{{{bomb}}}"[: 10**6], "boxed") for bomb in BOMBS]
    bombs += [("5", f"The final answer is {bomb}"[: 10**6], "hf_math_verify") for bomb in BOMBS]
    for bomb in bombs:
        before = time.perf_counter()
        verdict, after = pool.map([bomb, ("5", "\\boxed{5}", "boxed")])
        slowest = max(slowest, time.perf_counter() - before)
        if verdict == "correct" or after != "correct" or time.perf_counter() - before > seconds + 2:
            failures.append(f"{verdict}, then {after}, in {time.perf_counter() - before:.1f} s for {bomb[1][:60]!r}")
    pool.close()
    if Path("pwned").exists():
        failures.append("the text of an answer was run")
    return [*rows, tally(f"math answers made to hang, slowest {slowest:.1f} s", len(bombs), failures)]


def run(quick: bool) -> list[dict]:
    """Rows for the torture table."""
    return fuzz_math(500 if quick else 20_000)
