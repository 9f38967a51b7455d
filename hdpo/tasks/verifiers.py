"""Verifiers that read the end of a response: exact match, numbers within a tolerance, and those of other packages.

A verifier is a function `verify(answer, response)` that returns a `Verdict`, or whether the response is right. It runs
in worker processes. An installed package names its own as an entry point of the group `hdpo.verifiers`; if the function
has an attribute `reads(answer)`, then rows whose answer it does not read are left out.
"""

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from hdpo.system.errors import UserError
from hdpo.tasks import Verdict
from hdpo.tasks.config import INSTALLED, Written

BOX = "\\boxed{"
NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")


def find_verifier(config: Written) -> tuple[Callable[..., Any], tuple]:
    """The function that judges a study's responses, and its arguments after answer and response.

    Raises:
        UserError: an installed package's verifier cannot be loaded.
    """
    if config.reward in ("hf_math_verify", "boxed"):
        from hdpo.tasks.grading import grade

        return grade, (config.reward,)
    if config.reward == "numeric":
        return numeric, (1e-6 if config.tolerance is None else config.tolerance,)
    if config.reward == "exact":
        return exact, ()
    [point] = entry_points(group=INSTALLED, name=config.reward)
    try:
        return point.load(), ()
    except Exception as error:  # a package that is installed, not ours: it may fail in any way
        raise UserError(f"verifier {point.name}: {point.value} cannot be loaded ({error})") from error


def exact(answer: str, response: str) -> Verdict:
    """Whether the last box, or the last line where there is none, is the answer; white space does not count."""
    box = last_boxed(response)
    final = (response.strip().splitlines() or [""])[-1] if box is None else box
    return Verdict.CORRECT if final.split() == answer.split() else Verdict.WRONG if final else Verdict.UNPARSABLE


def numeric(answer: str, response: str, tolerance: float) -> Verdict:
    """Whether the last number of the last box, or of the response where there is none, is near the answer."""
    box = last_boxed(response)
    numbers = NUMBER.findall(response if box is None else box)
    expected = number(answer)
    if not numbers or expected is None:
        return Verdict.UNPARSABLE
    off = abs(float(numbers[-1].replace(",", "")) - expected)
    return Verdict.CORRECT if off <= tolerance * max(1.0, abs(expected)) else Verdict.WRONG


def number(answer: str) -> float | None:
    """An answer that is a number and nothing else."""
    return float(answer.replace(",", "")) if NUMBER.fullmatch(answer.strip()) else None


numeric.reads = lambda answer: number(answer) is not None  # type: ignore[attr-defined]


def last_boxed(response: str) -> str | None:
    """Content of the last \\boxed{...} with balanced braces, None if there is none or if it is not closed."""
    start = response.rfind(BOX)
    if start < 0:
        return None
    start, depth = start + len(BOX), 1
    for i in range(start, len(response)):
        if response[i] in "{}" and response[i - 1] != "\\":  # \\{ and \\} are set braces, not groups
            depth += 1 if response[i] == "{" else -1
        if depth == 0:
            return response[start:i]
    return None
