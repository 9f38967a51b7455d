"""One row of the theory table: a statement, what it predicts, what was measured, and the verdict.

verdict   "holds"               the error is within the tolerance
          "holds with limits"   so too, but only under the condition that the statement spells out
          "fails"               the error is larger than the tolerance
"""

from typing import SupportsFloat

COLUMNS = ["statement", "quantity", "expected", "measured", "error", "tolerance", "verdict"]

EXACT = 1e-12  # identities, relative error
SEARCH = 1e-8  # results of a numerical optimisation
ERROR_RATE = 1e-3  # chance that one Monte Carlo row fails although its statement is true


def row(
    statement: str,
    quantity: str,
    expected: SupportsFloat,
    measured: SupportsFloat,
    tolerance: float,
    *,
    relation: str = "equal",
    limits: bool = False,
) -> dict[str, str | float]:
    """A row of the table.

    `relation` says what counts as error: "equal" any difference, "at most" an excess of `measured` over
    `expected`, "at least" a shortfall. `limits` marks a statement that is true only under the condition in
    its own wording. A relative error is had by measuring a ratio whose expected value is 1.
    """
    wanted, found = float(expected), float(measured)
    difference = 0.0 if found == wanted else found - wanted
    error = abs(difference)
    if relation != "equal" and difference * (1 if relation == "at most" else -1) <= 0:
        error = 0.0
    agrees = error <= tolerance  # False for nan
    verdict = "fails" if not agrees else "holds with limits" if limits else "holds"
    quantity = quantity if relation == "equal" else f"{quantity} ({relation})"
    return dict(zip(COLUMNS, (statement, quantity, wanted, found, error, tolerance, verdict), strict=True))
