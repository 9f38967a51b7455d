"""The answer in one sentence: what HDPO changes in pass@k and greedy accuracy at the larger λ of the paper."""

import math

from hdpo.claims.registration import plan_of, regime
from hdpo.claims.reported import reported_scores
from hdpo.claims.results import BASELINE, Comparison, Results, compare
from hdpo.render.formats import signed
from hdpo.render.runs import parse_run, run_label

NOTHING = "No finished run can be compared with GRPO yet."


def answer(results: Results) -> str:
    """Both changes against GRPO with 95 % intervals, and the seeds that they rest on.

    The mean over the paper's teachers at its larger λ; in a study without them, the first run that is not GRPO. An
    interval on one side of 0 makes a rise or a fall. A single seed has no interval.
    """
    name, runs = led_by(results.runs)
    found = _changes(results, runs)
    if not any(found):
        return NOTHING
    study = results.study
    where = f"{'on' if plan_of(study) else 'in study'} {regime(study)}"
    seeds, planned = max(len(part.seeds) for part in found if part), len(study.seeds)
    counted = f"{seeds} of {planned} seeds" if seeds < planned else f"{seeds} seed{'s' * (seeds > 1)}"
    return f"Against GRPO {where} ({counted}), {name} {_said(results, found)}."


def at_larger_weights(results: Results) -> str:
    """The same for λ beyond the paper's, with its teachers: a sentence each; "" where the study has none."""
    sentences, largest = [], _paper_weight()
    for weight in sorted({values for run in results.runs if (values := parse_run(run).values) > largest}):
        runs = [run for teacher in _teachers() if (run := f"{teacher}-{weight[0]:g}") in results.runs]
        if any(found := _changes(results, runs)):
            sentences.append(f"At λ = {weight[0]:g} it {_said(results, found)}.")
    return " ".join(sentences)


def _changes(results: Results, runs: list[str]) -> list[Comparison | None]:
    """The mean of the runs against GRPO, in each of `_metrics`."""
    weights = {run: 1 / len(runs) for run in runs} | {BASELINE: -1.0}
    return [compare(results.contrasts("test", m, [weights]))[0] for m in _metrics(results)] if runs else []


def _said(results: Results, found: list[Comparison | None]) -> str:
    names = _metrics(results).values()
    parts = [_change(name, part) for name, part in zip(names, found, strict=True) if part is not None]
    verbs, changes = zip(*parts, strict=True)
    said = f"{verbs[0]} {changes[0]}"
    for verb, change in zip(verbs[1:], changes[1:], strict=True):
        said += f" and {change}" if verb == verbs[0] else f" and {verb} {change}"
    return said


def _metrics(results: Results) -> dict[str, str]:
    most = f"pass@{max(results.study.evaluate.ks)}"
    return {most: most, "greedy": "greedy accuracy"}


def _paper_weight() -> tuple[float, ...]:
    return max(parse_run(run).values for run in reported_scores()["run"])


def _teachers() -> list[str]:
    """The paper's methods by their family, as `hdpo-frozen`."""
    families = (parse_run(run).family for run in reported_scores()["run"])
    return [family for family in dict.fromkeys(families) if family != BASELINE]


def led_by(runs: list[str]) -> tuple[str, list[str]]:
    """Whom the sentence is about, in words and as runs."""
    weight = _paper_weight()
    ours = [run for teacher in _teachers() if (run := f"{teacher}-{weight[0]:g}") in runs]
    if ours and BASELINE in runs:
        return f"HDPO at λ = {weight[0]:g}", ours
    others = [run for run in runs if run != BASELINE][:1]
    return "".join(map(run_label, others)), others


def _change(name: str, found: Comparison) -> tuple[str, str]:
    """A verb, and what it is about."""
    value, low, high = (100 * end for end in (found.value, found.low, found.high))
    if math.isnan(low):
        return "changes", f"{name} by {signed(value)} points without an interval"
    ends = f"[{signed(low)}, {signed(high)}]"
    if low <= 0 <= high:
        return "does not clearly change", f"{name} ({signed(value)} points {ends})"
    return "raises" if value > 0 else "lowers", f"{name} by {abs(value):.1f} points {ends}"
