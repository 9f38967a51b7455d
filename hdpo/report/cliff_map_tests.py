"""What the map is held against: the bandit's prediction, a collapse on λ × steps, and the paper's own report."""

from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from hdpo.claims.reported import COLUMNS as REPORTED_AS
from hdpo.claims.reported import PROBLEMS, reported_scores
from hdpo.claims.results import BASELINE, Contrast, Results, compare
from hdpo.render.formats import listed, metric_label, signed
from hdpo.render.runs import parse_run, run_label
from hdpo.report.cliff_map_rows import METRICS, depth_of
from hdpo.stats.proportions import difference_se
from hdpo.theory.escape import Climb

FIRST_STEPS = 10  # of training, over which the teacher's rate is taken
COLLAPSE_COLUMNS = ["study", "depth", "pairs", "seeds", "diff", "low90", "high90"]
MARGIN = 0.02  # within which gains count as equal, in shares


def prediction_rows(results: Results) -> pd.DataFrame:
    """The bandit's escape times from this depth, one row per HDPO run: how many times faster than GRPO.

    A problem of the hardest size is a trajectory of as many tokens as GRPO's mean response, with the base model's pass
    rate (or half a success in all tries where there was none) and the teacher's rate over the first steps.
    """
    depth, tries, _ = depth_of(results)
    start, rows = max(depth, 0.5 / tries), []
    for run in (run for run in results.runs if parse_run(run).family.startswith("hdpo-")):
        frames = [results.reader.metrics(run, seed) for seed in results.seeds(run)]
        first = [frame.iloc[:FIRST_STEPS] for frame in frames if frame is not None]
        if not first or start >= 0.5:
            continue
        rate = float(np.nanmean([frame["privileged_pass_rate"].mean() for frame in first]))
        tokens = round(float(np.mean([frame["response_length"].mean() for frame in first])))
        hdpo = Climb(tokens, parse_run(run).values[-1], teacher_success=min(max(rate, 1e-3), 0.999))
        times = {"grpo_steps": Climb(tokens, 0.0).time(start), "hdpo_steps": hdpo.time(start)}
        row = {"study": results.study.name, "run": run, "start": start, "teacher": rate, "tokens": tokens}
        rows.append(row | times | {"faster": times["grpo_steps"] / times["hdpo_steps"]})
    columns = ["study", "run", "start", "teacher", "tokens", "grpo_steps", "hdpo_steps", "faster"]
    return pd.DataFrame(rows, columns=columns)


def prediction_line(frame: pd.DataFrame, predicted: pd.DataFrame) -> str:
    """How well the order of the predicted speed-ups matches the order of the measured gains."""
    gains = frame[(frame["subset"] == "all") & (frame["metric"] == METRICS[0])]
    both = gains.merge(predicted, on=["study", "run"])
    if len(both) < 3:
        return "Too few cells to hold the bandit's prediction against."
    found = spearmanr(both["faster"], both["diff"])
    return (
        f"The bandit's speed-up over GRPO and the measured gain in {METRICS[0]} have rank correlation"
        f" {found.statistic:.2f} over {len(both)} cells."
    )


def collapse_rows(results: Results) -> pd.DataFrame:
    """Whether gains in pass@8 are equal at equal λ × steps: one row for the study, or none without such pairs.

    A pair is λ at step s beside about three times λ at step s / 3, both evaluated on the validation problems. `diff` is
    the paired difference of their gains over GRPO at the same steps, mean over all pairs, in shares.
    """
    weights = {parse_run(run).values[-1]: run for run in results.runs if parse_run(run).family == "hdpo-drifting"}
    runs = [(weights[low], weights[high]) for low, high in product(weights, weights) if 2.9 < high / low < 3.5]
    curves = {
        key: dict(zip(found["validation"].steps.tolist(), found["validation"].outcomes.score(METRICS[0]), strict=True))
        for key, found in results.training.items()
    }
    seeds = [s for s in results.study.seeds if all((run, s) in curves for run in {BASELINE, *sum(runs, ())})]
    if not runs or not seeds:
        return pd.DataFrame(columns=COLLAPSE_COLUMNS)
    steps = [step for step in curves[BASELINE, seeds[0]] if step % 3 == 0 and step // 3 in curves[BASELINE, seeds[0]]]

    def difference(seed: int) -> np.ndarray:
        def gain(run: str, step: int) -> np.ndarray:
            return curves[run, seed][step] - curves[BASELINE, seed][step]

        return np.mean([gain(low, s) - gain(high, s // 3) for (low, high), s in product(runs, steps)], axis=0)

    (found,) = compare([Contrast(np.stack([difference(seed) for seed in seeds]), tuple(seeds))])
    assert found is not None
    row = {"study": results.study.name, "depth": depth_of(results)[0], "pairs": len(runs) * len(steps)}
    row |= {"seeds": len(seeds), "diff": found.value, "low90": found.low90, "high90": found.high90}
    return pd.DataFrame([row])


def collapse_line(rows: pd.DataFrame) -> str:
    """In how many base models the gains are equal within a margin, differ by more, or leave it open."""
    if rows.empty:
        return "No two values of λ × steps are equal: whether gains collapse on it cannot be seen."
    equal = ((rows["low90"] > -MARGIN) & (rows["high90"] < MARGIN)).sum()
    apart = ((rows["low90"] > MARGIN) | (rows["high90"] < -MARGIN)).sum()
    return (
        f"At equal λ × steps the gains in {METRICS[0]} are equal within {100 * MARGIN:g} points in {equal} of"
        f" {len(rows)} base models, and differ by more in {apart}. In the others the 90 % interval leaves it open."
    )


def paper_lines(frame: pd.DataFrame) -> list[str]:
    """At which depths the paper's differences to GRPO agree with the cells of its λ, a sentence each.

    Two differences agree if they lie within 1.96 standard errors of each other. The paper gives single runs without
    errors; theirs are binomial, unpaired, and so rather too wide.
    """
    scores, lines = reported_scores().groupby("run")[list(REPORTED_AS.values())].mean(), []
    for run, cells in frame[frame["subset"] == "all"].groupby("run", sort=False):
        if run not in scores.index:
            continue
        said, fits = [], {}
        for metric in METRICS:
            own, grpo = scores.loc[[run, BASELINE], REPORTED_AS[metric]]
            part = cells[cells["metric"] == metric].set_index("depth")
            error = np.hypot(difference_se(grpo, own, PROBLEMS), (part["high"] - part["low"]) / (2 * 1.96))
            fits[metric] = sorted(part.index[(part["diff"] - (own - grpo)).abs() <= 1.96 * error])
            said.append(f"{signed(100 * (own - grpo))} points of {metric_label(metric)}")
        places = [f"in {metric_label(metric)} {_depths(depths)}" for metric, depths in fits.items()]
        lines.append(f"The paper's {run_label(run)} reports {listed(said)}. Our cells agree {listed(places)}.")
    return lines


def _depths(depths: list[float]) -> str:
    return f"at depths of {', '.join(f'{100 * depth:.2g}' for depth in depths)} %" if depths else "at no depth"
