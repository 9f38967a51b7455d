"""Whether a response's final answer equals the expected one, by math-verify.

Two readings of a response:
- `hf_math_verify`, the base framework's: the expected answer is parsed as LaTeX, the response searched for LaTeX and
  plain expressions anywhere, first for boxed ones and those after "final answer is". Text that merely mentions the
  right number can score 1. Several boxes are read as one set, so a right one after a wrong one scores 0.
- `boxed`, the strict one: only the content of the last \\boxed{} counts.

math-verify's own time-outs work in a main thread only and cannot interrupt C code. They are switched off;
`hdpo.tasks.workers` ends a call that takes too long.
"""

import logging
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from sympy import Basic, MatrixBase

from hdpo.tasks import Verdict
from hdpo.tasks.verifiers import BOX, last_boxed

Reading = Literal["hf_math_verify", "boxed"]

LATEX = (LatexExtractionConfig(),)
ANYTHING = (ExprExtractionConfig(), LatexExtractionConfig())

logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def grade(expected: str, response: str, reading: Reading) -> Verdict:
    """Verdict on one response.

    Raises:
        Exception: whatever math-verify or sympy raise, unless another reading of the answer is correct. The caller
            counts it as crashed; the base framework scores it 0.
    """
    if reading == "boxed":
        content = last_boxed(response)
        if content is None:
            return Verdict.UNPARSABLE
        response = BOX + content + "}"
    found = _parse(response, LATEX if reading == "boxed" else ANYTHING)
    failed: Exception | None = None
    for gold, answer in product(expected_expressions(expected), found):
        try:
            if verify(gold, answer, timeout_seconds=None, raise_on_error=True):
                return Verdict.CORRECT
        except Exception as error:
            failed = error
    if failed is not None:
        raise failed
    understood = any(isinstance(answer, Basic | MatrixBase) for answer in found)
    return Verdict.WRONG if understood else Verdict.UNPARSABLE


@lru_cache(maxsize=4096)  # all rollouts of a problem share it
def expected_expressions(expected: str) -> list[Any]:
    """What the expected answer parses to: an expression, and its text as a fallback."""
    return _parse(BOX + expected + "}", LATEX)


def _parse(text: str, targets: tuple) -> list[Any]:
    return parse(text, targets, parsing_timeout=None, raise_on_error=True)
