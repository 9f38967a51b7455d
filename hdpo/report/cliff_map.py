"""The map: what HDPO adds to GRPO by depth of the cliffs, λ and training steps, beside what the bandit predicts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from hdpo.claims.registration import remarks
from hdpo.claims.reported import COLUMNS as REPORTED_AS
from hdpo.claims.reported import PROBLEMS, reported_scores
from hdpo.claims.results import BASELINE, Comparison, Contrast, Results, compare
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import metric_label, number, signed
from hdpo.render.runs import family_label, parse_run, run_label
from hdpo.render.style import save_figure
from hdpo.render.table import Table, make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.cliff_map_figure import map_figure, steps_figure
from hdpo.report.gains import starred
from hdpo.stats.power import holm
from hdpo.stats.proportions import difference_se
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.theory.escape import Climb

METRICS = ("pass@8", "greedy")
FIRST_STEPS = 10  # of training, over which the teacher's rate is taken
COLUMNS = ["study", "way", "depth", "tries", "run", "weight", "step", "subset", "metric", "seeds"]
ENDS = ["diff", "low", "high", "df"]
SCALES = ("λ × steps", "λ", "steps")  # on which gains may collapse


def write_map(studies: Sequence[Study], out: Path = Path("results/map")) -> Path:
    """Write map.md, .json, map.csv (differences), prediction.csv, and the figures map and steps as PNG and PDF.

    Raises:
        UserError: a study has no base model of its own kind, or a result is damaged or belongs elsewhere.
    """
    results = [Results(study) for study in studies]
    frame = with_holm(pd.concat([map_rows(found) for found in results], ignore_index=True))
    predicted = pd.concat([prediction_rows(found) for found in results], ignore_index=True)
    for name, part in (("map", frame), ("prediction", predicted)):
        write_text(out / f"{name}.csv", part.to_csv(index=False, float_format="%.6f"))
    save_figure(map_figure(frame), out / "map")
    save_figure(steps_figure(frame), out / "steps")
    lines = (prediction_line(frame, predicted), collapse_line(frame), *paper_lines(frame), *remarks(results))
    write_document(out / "map", Document("When HDPO helps", (Section("", lines, (_table(frame),)),)))
    return out / "map.md"


def map_rows(results: Results) -> pd.DataFrame:
    """Paired differences to GRPO in shares: one row per run × metric × subset, and per step of training.

    `depth` is the share of single tries that the base model solves on the hardest size, of `tries`; `step` is the last
    for the test problems (subsets `all` and the hardest size), and each evaluation's for the validation problems.
    """
    study = results.study
    depth, tries, hardest = depth_of(results)
    shared = {"study": study.name, "way": way_of(study), "depth": depth, "tries": tries}
    rows = []
    for run in (run for run in results.runs if run != BASELINE):
        own = shared | {"run": run, "weight": parse_run(run).values[-1] if parse_run(run).values else np.nan}
        for metric in METRICS:
            for subset in ("all", hardest):
                (found,) = results.differences("test", metric, [run], None if subset == "all" else subset)
                rows += _row(own | {"step": study.train.steps, "subset": subset, "metric": metric}, found)
            for step, found in _in_training(results, run, metric):
                rows += _row(own | {"step": step, "subset": "validation", "metric": metric}, found)
    return pd.DataFrame(rows, columns=[*COLUMNS, *ENDS, "p"]).astype({"p": float})


def with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with `p_holm`, corrected over all cells and metrics: once on all problems, once on the hardest size."""
    test = frame[frame["subset"] != "validation"]
    found = test.groupby(test["subset"] == "all")["p"].transform(lambda p: holm(p.to_numpy()))
    return frame.assign(p_holm=found)


def _row(row: dict[str, object], found: Comparison | None) -> list[dict[str, object]]:
    return [] if found is None else [row | found.row]


def _in_training(results: Results, run: str, metric: str) -> Iterator[tuple[int, Comparison | None]]:
    """The difference to GRPO on the validation problems at each evaluation, over the seeds that both have."""
    pairs = [
        (results.training[run, seed]["validation"], results.training[BASELINE, seed]["validation"], seed)
        for seed in results.seeds(run)
        if {(run, seed), (BASELINE, seed)} <= set(results.training)
    ]
    for place, step in enumerate(pairs[0][0].steps.tolist() if pairs else ()):
        scores = [(own.outcomes.score(metric)[place], base.outcomes.score(metric)[place]) for own, base, _ in pairs]
        values = np.stack([own - base for own, base in scores])
        yield step, compare([Contrast(values, tuple(seed for *_, seed in pairs))])[0]


def depth_of(results: Results) -> tuple[float, int, str]:
    """The base model's pass rate on the hardest size of the test problems, the tries behind it, and that subset's name.

    Raises:
        UserError: the base model is not evaluated.
    """
    base = results.final.get((BASE_RUN, 0))
    if base is None:
        raise UserError(
            f"study {results.study.name}: its base model is not evaluated; `hdpo evaluate STUDY --run base`"
        )
    hardest = base.difficulty == base.difficulty.max()
    tries = int(base.tries[hardest].sum())
    return float(base.hits[hardest].sum() / tries), tries, f"size {base.difficulty.max()}"


def way_of(study: Study) -> str:
    """How the base model came to its depth: it seldom saw the class, or saw it with other problems' solutions."""
    return "seldom seen" if study.pretrain is None or not study.pretrain.astray else "seen with other solutions"


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


def collapse_line(frame: pd.DataFrame) -> str:
    """How well the gain during training follows λ × steps, λ and steps: mean rank correlations over base models."""
    part = frame[(frame["subset"] == "validation") & (frame["metric"] == METRICS[0])]
    found = []
    for _, rows in part.groupby("study"):
        if rows["weight"].nunique() > 1 and rows["step"].nunique() > 1:
            scales = (rows["weight"] * rows["step"], rows["weight"], rows["step"])
            found.append([spearmanr(scale, rows["diff"]).statistic for scale in scales])
    if not found:
        return "Too few points to see whether gains collapse on λ × steps."
    means = ", ".join(f"{mean:.2f} with {name}" for mean, name in zip(np.mean(found, axis=0), SCALES, strict=True))
    first = int((np.argmax(found, axis=1) == 0).sum())
    return (
        f"Over the training curves of a base model, the gain in {METRICS[0]} has a mean rank correlation of {means};"
        f" λ × steps is the highest in {first} of {len(found)} base models."
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
        lines.append(
            f"The paper's {run_label(run)} reports {' and '.join(said)}. Our cells agree {' and '.join(places)}."
        )
    return lines


def _depths(depths: list[float]) -> str:
    return f"at depths of {', '.join(f'{100 * depth:.2g}' for depth in depths)} %" if depths else "at no depth"


def _table(frame: pd.DataFrame) -> Table:
    """Columns of the map down, λ across: differences on all test problems."""
    part = frame[frame["subset"] == "all"]
    cells = starred(part)
    down = {"base model": part["way"], "depth, %": [number(100 * value, ".3f") for value in part["depth"]]}
    down |= {"method": [family_label(parse_run(run).family) for run in part["run"]]}
    down |= {"metric": part["metric"].map(metric_label)}
    long = pd.DataFrame(down | {"weight": [f"λ = {value:g}" for value in part["weight"]], "cell": cells})
    wide = long.groupby([*down, "weight"], sort=False)["cell"].first().unstack(sort=False).fillna("—").reset_index()
    return make_table("map", wide, caption("map"), words=("base model", "method", "metric"))
