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
    name, runs = _led_by(results.runs)
    metrics = {f"pass@{max(results.study.evaluate.ks)}": "", "greedy": "greedy accuracy"}
    weights = {run: 1 / len(runs) for run in runs} | {BASELINE: -1.0}
    found = [compare(results.contrasts("test", metric, [weights]))[0] for metric in metrics] if runs else []
    parts = [_change(metrics[m] or m, part) for m, part in zip(metrics, found, strict=False) if part is not None]
    if not parts:
        return NOTHING
    verbs, changes = zip(*parts, strict=True)
    said = f"{verbs[0]} {changes[0]}"
    for verb, change in zip(verbs[1:], changes[1:], strict=True):
        said += f" and {change}" if verb == verbs[0] else f" and {verb} {change}"
    study = results.study
    where = f"{'on' if plan_of(study) else 'in study'} {regime(study)}"
    seeds, planned = max(len(part.seeds) for part in found if part), len(study.seeds)
    counted = f"{seeds} of {planned} seeds" if seeds < planned else f"{seeds} seed{'s' * (seeds > 1)}"
    return f"Against GRPO {where} ({counted}), {name} {said}."


def _led_by(runs: list[str]) -> tuple[str, list[str]]:
    """Whom the sentence is about, in words and as runs."""
    reported = reported_scores()["run"].unique()
    weight = max(parse_run(run).values for run in reported)
    ours = [run for run in reported if parse_run(run).values == weight and run in runs]
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
