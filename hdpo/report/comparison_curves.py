"""Methods of a comparison during training: coverage against steps, and against the tokens that they spent."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdpo.claims.results import BASELINE, Results
from hdpo.render.labels import NOTHING, PERCENT, name_ends, state
from hdpo.render.runs import run_label
from hdpo.render.style import PAGE_WIDTH, use_style
from hdpo.report.comparison_figure import GRPO_LONGER, color_key, color_of

TOKENS = ("tokens.rollout", "tokens.privileged", "tokens.forward", "tokens.backward")
COLUMNS = ["run", "seeds", "step", "tokens", "pass@8"]


def curve_rows(results: Results, longer: Results | None = None) -> pd.DataFrame:
    """Means over seeds on the validation problems, one row per run × evaluated step; `longer` as in `gain_rows`.

    `tokens` are all those generated and passed forward and backward until then; nan in records of earlier versions.
    """
    made = [(run, run, results) for run in results.runs] + ([(GRPO_LONGER, BASELINE, longer)] if longer else [])
    rows, start = [], results.reader.start()
    for name, run, found in made:
        curves = {
            seed: found.training[run, seed]["validation"] for seed in found.seeds(run) if (run, seed) in found.training
        }
        if not curves:
            continue
        steps = next(iter(curves.values())).steps
        scores = np.mean([curve.means("pass@8") for curve in curves.values()], axis=0)
        frames = [frame for seed in curves if (frame := found.reader.metrics(run, seed)) is not None]
        tokens = np.mean([spent(frame, steps) for frame in frames], axis=0) if frames else np.full(len(steps), np.nan)
        if start:  # the base model is step 0 of every run
            rows.append((name, len(curves), 0, 0.0, start["validation"].score("pass@8").mean()))
        for at in zip(steps.tolist(), tokens.tolist(), scores.tolist(), strict=True):
            rows.append((name, len(curves), *at))
    return pd.DataFrame(rows, columns=COLUMNS)


def spent(frame: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    """Tokens spent after each number of steps, [E]; the first step of a run is step 0."""
    each = frame.reindex(columns=TOKENS).sum(axis=1, skipna=False).cumsum()
    return each.to_numpy()[np.searchsorted(frame["step"], steps, side="left") - 1]


def curves_figure(curves: pd.DataFrame, regimes: list[str]) -> Figure:
    """pass@8 on the validation problems against steps (left) and tokens (right), a row of panels per regime.

    The best method of each colour at the end is named, and GRPO.
    """
    use_style()
    size = (PAGE_WIDTH, 0.9 + 2.1 * max(1, len(regimes)))
    figure, axes = plt.subplots(max(1, len(regimes)), 2, figsize=size, sharey="row", squeeze=False)
    names, best = {}, []
    for (left, right), name in zip(axes, regimes, strict=False):
        part, ends = curves[curves["regime"] == name], []
        for run, line in part.groupby("run", sort=False):
            look = {
                "color": color_of(run),
                "lw": 1.8 if run == BASELINE else 0.9,
                "ls": "--" if run == GRPO_LONGER else "-",
            }
            left.plot(line["step"], line["pass@8"], **look)
            right.plot(line["tokens"] / 1e6, line["pass@8"], **look)
            ends.append((run, float(line["pass@8"].iloc[-1]), color_of(run)))
        last = sorted(ends, key=lambda end: -end[1])
        tops = {color: (run, value, color) for run, value, color in reversed(last)}  # the best of each colour
        named = {
            run: (run_label(run), value, color)
            for run, value, color in [*tops.values(), *ends]
            if (run, value, color) in tops.values() or run == BASELINE
        }
        names[right] = list(named.values())
        best += [f"{name}: {run_label(last[0][0])}"] if last else []
        left.set_ylabel(f"{name}\npass@8, %")
        left.yaxis.set_major_formatter(PERCENT)
        left.set_xlabel("steps")
        right.set_xlabel("tokens, millions")
    color_key(figure)
    state(figure, f"Ahead at the end, on validation problems: {'; '.join(best)}" if best else NOTHING)
    name_ends(names)
    return figure
