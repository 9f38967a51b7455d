"""Methods side by side over several studies: what each gains on GRPO, what it costs, and how sure its rank is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.claims.reader import Counted
from hdpo.claims.registration import plan_of, regime, remarks
from hdpo.claims.results import BASELINE, Comparison, Contrast, Results, compare
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import metric_label, number
from hdpo.render.runs import run_label
from hdpo.render.style import save_figure
from hdpo.render.table import Table, make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.comparison_curves import curve_rows, curves_figure
from hdpo.report.comparison_figure import GRPO_LONGER, METRICS, comparison_figure, front_figure, learns_from
from hdpo.report.controls import control_frame, question_table
from hdpo.report.gains import starred
from hdpo.report.gains_figure import CLASSES
from hdpo.stats.power import holm
from hdpo.study.study import Study
from hdpo.system.errors import UserError

OUTCOMES = {  # label: metric, subset of the test problems
    "greedy": ("greedy", None),
    "pass@1": ("pass@1", None),
    "pass@4": ("pass@4", None),
    "pass@8": ("pass@8", None),
    "pass@64": ("pass@64", None),  # where so many samples are drawn
    "conversion": ("conversion", CLASSES[0]),  # of problems that the base model never solves
    "greedy, base often": ("greedy", CLASSES[-1]),  # harm to what the base model could do
}
RANKED = ("greedy", "pass@8", "conversion")
COSTS = {  # of a run, beside GRPO's
    "generated": ("tokens.rollout", "tokens.privileged"),
    "forward": ("tokens.forward",),
    "backward": ("tokens.backward",),
    "seconds": ("seconds.total",),
}
SAMPLED = ("length", "entropy")  # of a test sample: in tokens, and in nats per token
RATIOS = (*COSTS, *SAMPLED)  # to GRPO's
RESAMPLES = 4000


def write_comparison(studies: Sequence[Study], out: Path = Path("results/comparison")) -> Path:
    """Write comparison.md, .json, .csv (differences), costs.csv, ranks.csv, curves.csv, and figures as PNG and PDF.

    Where the studies' plan asks for contrasts of methods, contrasts.csv and a table hold them.

    The figures: `comparison` with all intervals, `front` of coverage against accuracy, and `curves` of training.

    Of two studies of one regime, the one with fewer runs holds GRPO with other steps, a row among the other's methods.

    Raises:
        UserError: a result is damaged or belongs elsewhere.
    """
    results: dict[str, Results] = {}
    longer: dict[str, Results] = {}
    for study in sorted(studies, key=lambda study: -len(study.runs)):
        (longer if regime(study) in results else results)[regime(study)] = Results(study)
    pairs = {name: (found, longer.get(name)) for name, found in results.items()}
    gains = pd.concat([gain_rows(*pair).assign(regime=name) for name, pair in pairs.items()], ignore_index=True)
    tested = gains["outcome"].isin(METRICS).to_numpy()
    gains.loc[tested, "p_holm"] = holm(gains["p"].to_numpy()[tested])
    costs = pd.concat([cost_rows(*pair).assign(regime=name) for name, pair in pairs.items()], ignore_index=True)
    ranks = pd.concat([rank_rows(found).assign(regime=name) for name, found in results.items()], ignore_index=True)
    curves = pd.concat([curve_rows(*pair).assign(regime=name) for name, pair in pairs.items()], ignore_index=True)
    for name, frame in (("comparison", gains), ("costs", costs), ("ranks", ranks), ("curves", curves)):
        write_text(out / f"{name}.csv", frame.to_csv(index=False, float_format="%.6f"))
    tables = []
    for name in results:
        of_regime = [frame[frame["regime"] == name].drop(columns="regime") for frame in (gains, costs, ranks)]
        tables.append(_table(name, *of_regime))
    sections = [Section("", remarks([*results.values(), *longer.values()]), tuple(tables))]
    planned = plan_of(studies[0])
    if planned and planned[1].questions:
        asked = control_frame([*results.values()], planned[1])
        write_text(out / "contrasts.csv", asked.to_csv(index=False, float_format="%.6f"))
        sections.append(Section("Planned contrasts", (), (question_table("control", asked),)))
    save_figure(comparison_figure(gains, costs, list(results)), out / "comparison")
    save_figure(front_figure(gains, costs, list(results)), out / "front")
    save_figure(curves_figure(curves, list(results)), out / "curves")
    write_document(out / "comparison", Document("Methods for cliffs, side by side", tuple(sections)))
    return out / "comparison.md"


def gain_rows(results: Results, longer: Results | None = None) -> pd.DataFrame:
    """Paired differences to GRPO in shares, one row per run × outcome of `OUTCOMES`, with a two-sided p.

    `longer`: GRPO with other steps, on the same problems and seeds; its row is `GRPO_LONGER`.
    """
    runs, rows = [run for run in results.runs if run != BASELINE], []
    for label, (metric, subset) in OUTCOMES.items():
        if metric == "pass@64" and results.study.evaluate.test_samples < 64:
            continue
        differences = dict(zip(runs, results.differences("test", metric, runs, subset), strict=True))
        if longer is not None:
            differences[GRPO_LONGER] = _longer(results, longer, metric, subset)
        for run, found in differences.items():
            if found is not None:
                rows.append({"run": run, "outcome": label} | found.row)
    columns = ["run", "outcome", "seeds", "diff", "low", "high", "df", "p"]
    return pd.DataFrame(rows, columns=columns).astype({"p": float})


def _longer(results: Results, longer: Results, metric: str, subset: str | None) -> Comparison | None:
    """GRPO with other steps less GRPO, over the seeds that both have.

    Raises:
        UserError: the two studies test on different problems.
    """
    if results.reader.problems["test"] != longer.reader.problems["test"]:
        raise UserError(f"studies {results.study.name} and {longer.study.name} test on different problems")
    own, base = (found.scores("test", metric).get(BASELINE, {}) for found in (longer, results))
    chosen = slice(None) if subset is None else results.subset(subset)
    seeds = sorted(set(own) & set(base))
    if chosen is None or not seeds:
        return None
    values = np.stack([own[seed][chosen] - base[seed][chosen] for seed in seeds])
    return compare([Contrast(values, tuple(seeds))])[0]


def cost_rows(results: Results, longer: Results | None = None) -> pd.DataFrame:
    """What a run costs beside GRPO of the same seeds, one row per run: ratios of tokens and seconds of all its steps.

    Tokens generated; passed forward through the network, prompts included; passed backward. Records of earlier
    versions lack the last two: nan. Then the ratios of a test sample's length and of a token's entropy.
    """
    rows, totals = [], {}
    made = [(run, run, results) for run in results.runs] + ([(GRPO_LONGER, BASELINE, longer)] if longer else [])
    for name, run, found in made:
        frames = {seed: found.reader.metrics(run, seed) for seed in found.seeds(run)}
        totals[name] = {
            seed: _totals(frame, found.final.get((run, seed))) for seed, frame in frames.items() if frame is not None
        }
    for run, by_seed in totals.items():
        shared = sorted(set(by_seed) & set(totals.get(BASELINE, {})))
        if shared:
            own, base = (np.sum([of[seed] for seed in shared], axis=0) for of in (by_seed, totals[BASELINE]))
            rows.append({"run": run, "seeds": len(shared)} | dict(zip(RATIOS, (own / base).tolist(), strict=True)))
    return pd.DataFrame(rows, columns=["run", "seeds", *RATIOS])


def _totals(frame: pd.DataFrame, final: Counted | None) -> np.ndarray:
    """Sums over the steps of a run and means over its test samples, in the order of `RATIOS`; nan where unknown."""
    unknown = pd.Series([np.nan])
    sums = [sum(float(frame.get(name, unknown).sum(skipna=False)) for name in names) for names in COSTS.values()]
    return np.array([*sums, *(float(final.details[name].mean()) if final else np.nan for name in SAMPLED)])


def rank_rows(results: Results) -> pd.DataFrame:
    """How often each run is best when seeds are drawn anew, one row per run × outcome of `RANKED`.

    Seeds are drawn with replacement, the same ones for all runs; GRPO takes part. `rank` is the mean rank.
    """
    rows, random = [], np.random.default_rng(0)
    for label in RANKED:
        metric, subset = OUTCOMES[label]
        weights = [{run: 1.0} for run in results.runs]
        found = dict(zip(results.runs, results.contrasts("test", metric, weights, subset), strict=True))
        means = {run: dict(zip(part.seeds, part.values.mean(1), strict=True)) for run, part in found.items() if part}
        shared = sorted(set.intersection(*map(set, means.values()))) if means else []
        if len(shared) < 2:
            continue
        values = np.array([[of_run[seed] for seed in shared] for of_run in means.values()])  # [R, S]
        drawn = random.integers(0, len(shared), (RESAMPLES, len(shared)))
        scores = values[:, drawn].mean(-1)  # [R, B]
        best = (scores == scores.max(0)) / (scores == scores.max(0)).sum(0)
        ranks = (-scores).argsort(0, kind="stable").argsort(0) + 1
        for place, run in enumerate(means):
            row = {"run": run, "outcome": label, "seeds": len(shared), "best": float(best[place].mean())}
            rows.append(row | {"rank": float(ranks[place].mean())})
    return pd.DataFrame(rows, columns=["run", "outcome", "seeds", "best", "rank"])


def _table(name: str, gains: pd.DataFrame, costs: pd.DataFrame, ranks: pd.DataFrame) -> Table:
    """One regime: methods down, outcomes across, then costs and the chance of being best in pass@8."""
    wide = gains.assign(cell=starred(gains))
    wide = wide.pivot_table(index="run", columns="outcome", values="cell", aggfunc="first", sort=False)
    known = [label for label in OUTCOMES if label in wide or label != "pass@64"]
    wide = wide.reindex(columns=known).astype(object).fillna("—").rename(columns=metric_label)
    for cost in RATIOS:
        ratio = costs.set_index("run")[cost].reindex(wide.index)
        wide[cost] = [number(value, ".2f") for value in ratio]
    best = ranks[ranks["outcome"] == "pass@8"].set_index("run")["best"].reindex(wide.index)
    wide["best in pass@8"] = [number(100 * value, ".0f") for value in best]
    shown = wide.reset_index()
    shown.insert(1, "on a cliff", shown["run"].map(learns_from))
    shown["run"] = shown["run"].map(run_label)
    shown = shown.rename(columns={"run": "method"})
    return make_table(
        f"comparison-{_slug(name)}", shown, caption("comparison", regime=name), words=["method", "on a cliff"]
    )


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
