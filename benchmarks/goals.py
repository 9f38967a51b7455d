"""The benchmark's goals: what was measured on each processor, and where each goal is met."""

from collections.abc import Callable

import pandas as pd

from benchmarks.tables import Result, exponent, interval
from hdpo.render.formats import NOT_RUN

Finding = tuple[str, bool | None]  # what was measured, and whether that meets the goal; None: no goal to meet


def goal_table(processors: dict[str, dict[str, Result]]) -> pd.DataFrame:
    """Each goal, what was measured on each processor, and where it is met; parts that were not run say so.

    `processors` holds the results by processor and part.
    """
    rows = []
    for what, goal, part, find in GOALS:
        found = {
            cpu: find(results[part]) if part in results else (NOT_RUN, None) for cpu, results in processors.items()
        }
        measured = {cpu: text for cpu, (text, _) in found.items()}
        verdicts = {cpu: is_met for cpu, (_, is_met) in found.items() if is_met is not None}
        rows.append({"what": what, "goal": goal} | measured | {"met": where_met(verdicts)})
    return pd.DataFrame(rows)


def where_met(verdicts: dict[str, bool]) -> str:
    """Whether a goal is met on every processor that says, on none, or on which."""
    if not verdicts:
        return "—"
    if len(set(verdicts.values())) == 1:
        return "yes" if all(verdicts.values()) else "no"
    return "only on " + ", ".join(cpu for cpu, is_met in verdicts.items() if is_met)


def _step(peers: Result) -> Finding:
    row = peers["rows"][0]
    return interval(row), row["ratio"] >= 3


def _never_slower(peers: Result) -> Finding:
    row = min(peers["rows"], key=lambda row: row["ratio"])
    return f"least: {interval(row)} at {row['size']}", row["ratio"] >= 1


def _whole_run(peers: Result) -> Finding:
    return interval(peers["run"]), peers["run"]["ratio"] >= 2.5


def _efficiency(limits: Result) -> Finding:
    share = limits["rows"][-1]["efficiency"]
    of_default = share * limits["rate"] / limits["default_rate"]
    rates = [f"{limits[name] / 1e9:.0f}" for name in ("rate", "default_rate")]
    return f"{100 * share:.0f} % of {rates[0]} GFLOP/s ({100 * of_default:.0f} % of PyTorch's {rates[1]})", share >= 0.6


def _overhead(overhead: Result) -> Finding:
    return interval(overhead["goal"]), overhead["goal"]["ratio"] < 1.35


def _straight(overhead: Result) -> Finding:
    fit = overhead["fit"]
    intercept = f"{100 * fit['intercept_of_step']:+.0f}".replace("-", "−")
    return f"R² {fit['r_squared']:.3f}, intercept {intercept} % of a step", None


def _exponents(axis: str) -> Callable[[Result], Finding]:
    """The larger exponent of rollouts and update: at most 1 within two standard errors, which two points lack.

    The rollouts count without their attention, the one part that may grow faster than the tokens.
    """

    def find(growth: Result) -> Finding:
        fits = {fit["quantity"]: fit for fit in growth["fits"] if fit["axis"] == axis}
        worst = max((fits["rollout_linear_s"], fits["update_s"]), key=lambda fit: fit["exponent"])
        error = worst["standard_error"]
        met = None if error is None else worst["exponent"] - 2 * error <= 1
        return f"{exponent(worst)} ({'update' if worst is fits['update_s'] else 'rollouts'})", met

    return find


def _sweep(growth: Result) -> Finding:
    largest = max(growth["sweeps"], key=lambda sweep: sweep["runs"])
    met = largest["seconds"] < 20 if largest["runs"] >= 1000 else None
    return f"{largest['seconds']:.1f} s for {largest['runs']} runs", met


def _help(startup: Result) -> Finding:
    return f"{startup['rows'][0]['seconds']:.2f} s", startup["rows"][0]["seconds"] < 0.5


def _first_step(startup: Result) -> Finding:
    return f"{startup['rows'][1]['seconds']:.1f} s", startup["rows"][1]["seconds"] < 6


def _workflow(whole: Result) -> Finding:
    runs = next(row["jobs"] for row in whole["rows"] if row["stage"] == "train")
    return f"{whole['wall_s'] / 60:.1f} min on {whole['cores']} cores, {runs} runs", whole["wall_s"] < 480


GOALS: tuple[tuple[str, str, str, Callable[[Result], Finding]], ...] = (
    ("GRPO step beside TRL's, small world", "≥ 3 ×", "peers", _step),
    ("the same up to 30 M parameters", "never slower", "peers", _never_slower),
    ("whole run beside TRL's, process start included", "≥ 2.5 ×", "peers", _whole_run),
    ("GRPO step against the float32 matrix rate", "≥ 60 %", "limits", _efficiency),
    ("HDPO step over GRPO step at 40 % cliffs", "< 1.35 ×", "overhead", _overhead),
    ("HDPO's overhead is a straight line in the cliff fraction", "the paper's claim", "overhead", _straight),
    (
        "exponent against rollouts per prompt, attention apart",
        "≤ 1",
        "growth",
        _exponents("rollouts per prompt"),
    ),
    ("the same against response length", "≤ 1", "growth", _exponents("response length")),
    ("Snakemake's dry run with 1,000 runs", "< 20 s", "growth", _sweep),
    ("the first round's study, from training to the report", "< 8 min", "whole", _workflow),
    ("hdpo --help", "< 0.5 s", "startup", _help),
    ("start of hdpo train to the end of its first step", "< 6 s", "startup", _first_step),
)
