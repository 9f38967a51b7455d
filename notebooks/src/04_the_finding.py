# ---
# jupyter:
#   jupytext:
#     formats: ipynb,src//py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 4. The finding
#
# *About 30 minutes. You know what HDPO does on one cliff. Does it make a model better on problems it has never seen?*
#
# This lesson reads the published results of the kit's reference study, `results/reference/`. It trains nothing. Every
# number below is computed here from recorded outcomes: which problem was solved by which run.
#
# | word | meaning |
# |---|---|
# | $\lambda$ | weight of the distillation term; 0 is GRPO. The paper uses 0.01 and 0.1; the study adds 1 |
# | drifting, frozen | the teacher has the current weights, or those before training |
# | greedy | share of problems solved when always taking the likeliest token; the paper's “pass@1” |
# | pass@$k$ | chance that at least one of $k$ sampled answers is right; pass@8 measures what is *in reach* |
# | point | one per cent of all test problems, or of the class that is named |
# | seed | a repetition of the whole training with other random numbers |

# %%
# %matplotlib inline
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from hdpo.claims.reported import reported_contrasts, reported_scores
from hdpo.claims.results import Results, compare
from hdpo.render.formats import signed
from hdpo.render.style import PALETTE, use_style
from hdpo.report.finding import effect_frame
from hdpo.report.gains import arm_frame
from hdpo.study.study import load_study

os.chdir(next(folder for folder in (Path("."), Path("..")) if (folder / "config").is_dir()))
use_style()
files = {"true cliffs": "config/small-true.yaml", "unlucky cliffs": "config/small.yaml"}
studies = {name: load_study(file).model_copy(update={"published": True}) for name, file in files.items()}
results = {name: Results(study) for name, study in studies.items()}
effects = effect_frame(results)  # differences to GRPO on the same seeds and problems, in shares, with intervals
planned = sum(len(study.runs) * len(study.seeds) for study in studies.values())
there = sum(run != "base" for found in results.values() for run, _ in found.final)
note = (
    ""
    if there == planned
    else " Where a run has one seed so far, it has no interval: read it as a hint, not as a result."
)
Markdown(f"**Published: {there} of {planned} planned runs.**{note}")

# %% [markdown]
# ## Two kinds of cliff
#
# The study was run in two regimes. They differ in what the base model knows of five-number puzzles.
#
# - **True cliffs**: the model of lesson 1. It never solves such a puzzle by itself.
# - **Unlucky cliffs**: another base model that solves one now and then. Most groups of rollouts fail, but not all.
#
# The table shows the base models on the test problems, by size of the puzzle.

# %%
rows = {}
for name, found in results.items():
    base = found.final["base", 0]
    for size in np.unique(base.difficulty):
        part = base.difficulty == size
        rows[name, f"{size} numbers"] = {
            "problems": int(part.sum()),
            "a single try is right": f"{(base.hits / base.tries)[part].mean():.1%}",
            f"never right in {base.tries.max()} tries": f"{(base.hits == 0)[part].mean():.0%}",
        }
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# > **Predict.** Both base models solve many of the five-number puzzles once they see a solution. In which regime will
# > HDPO gain more over GRPO? In pass@8? In greedy accuracy? At which $\lambda$?
#
# ## The finding in one figure

# %%
METRICS = {"greedy": "vermilion", "pass@8": "blue"}
LEVELS = (0.01, 0.1, 1)
whole = effects[effects["subset"] == "all"].set_index(["regime", "metric", "run"])
figure, axes = plt.subplots(1, 2, figsize=(4.6, 3.4), sharey=True)
for (name, _), axis in zip(results.items(), axes, strict=True):
    axis.axhline(0, color=PALETTE["black"], lw=1)
    for metric, colour in METRICS.items():
        for teacher, face, shift in (("drifting", PALETTE[colour], -0.07), ("frozen", "white", 0.07)):
            line = 100 * whole.loc[(name, metric)].loc[[f"hdpo-{teacher}-{level}" for level in LEVELS]]
            ends = np.nan_to_num([line["diff"] - line["low"], line["high"] - line["diff"]])
            look = {"color": PALETTE[colour], "mfc": face, "ms": 4, "lw": 1, "elinewidth": 1}
            axis.errorbar(np.arange(3) + shift, line["diff"], ends, fmt="o-", **look)
        axis.annotate(metric, (2.2, line["diff"].iloc[-1]), color=PALETTE[colour], va="center", fontsize="small")
    axis.set(title=name, xlabel="λ", xticks=range(3), xticklabels=LEVELS, xlim=(-0.3, 3.1))
axes[0].set_ylabel("points above GRPO")
at = (
    100
    * effects[(effects["subset"] == "all") & effects["run"].str.endswith("-0.1")]
    .groupby(["regime", "metric"])["diff"]
    .mean()
)
gain = {name: signed(at[name, "pass@8"]) for name in results}
figure.suptitle(
    "pass@8 at λ = 0.1: " + ", ".join(f"{g} on {name}" for name, g in gain.items()), fontweight="bold", fontsize="small"
)
display(figure)

# %% [markdown]
# Filled dots: drifting teacher; hollow: frozen. Bars are 95 % intervals, where there are two seeds or more. Both panels
# have the same scale, so what you see is the size of the effect. Compare it with your prediction.
#
# ## Where the gains come from
#
# A mean over all problems hides who gained. We split the test problems by the *base model's* successes in 64 tries:
# *never* is none, *rarely* is up to 1/16 of the tries (one to four), *often* is five or more. Each bar says what one
# class adds to the whole difference.
#
# > **Predict.** HDPO works on cliffs. So the gain must come from problems that the base never solves. In both regimes?

# %%
CLASSES = ["base never", "base rarely", "base often"]
part = effects[(effects["metric"] == "pass@8") & effects["subset"].isin(CLASSES)]
figure, axes = plt.subplots(2, 1, figsize=(4.4, 4.6))
for (name, _), axis in zip(results.items(), axes, strict=True):
    mine = part[part["regime"] == name]
    for level, colour, shift in ((0.1, "sky", -0.2), (1, "blue", 0.2)):
        runs = [f"hdpo-{teacher}-{level}" for teacher in ("drifting", "frozen")]
        adds = 100 * mine[mine["run"].isin(runs)].groupby("subset")["adds"].mean().loc[CLASSES]
        axis.barh(np.arange(3) + shift, adds, height=0.36, color=PALETTE[colour])
        for place, value in enumerate(adds):
            axis.annotate(
                f" {signed(value)} (λ = {level:g}) ", (max(value, 0), place + shift), va="center", fontsize="small"
            )
    counts = mine.drop_duplicates("subset").set_index("subset")["problems"]
    labels = [f"{kind.removeprefix('base ')} ({counts[kind]:,})" for kind in CLASSES]
    axis.set(yticks=range(3), yticklabels=labels, title=name)
    axis.axvline(0, color=PALETTE["black"], lw=1)
    axis.invert_yaxis()
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.35 * (high - low))
axes[1].set_xlabel("points of pass@8, mean of both teachers")
adds = (
    part.assign(adds=part["adds"].where(part["run"].str.endswith("-1")))
    .groupby(["regime", "subset"])["adds"]
    .mean()
    .unstack()
)
most = adds.idxmax(axis=1).str.removeprefix("base ")
figure.suptitle(
    "At λ = 1 the largest part comes from problems\nthat the base solves: "
    + ", ".join(f"{most[name]} ({name})" for name in results),
    fontweight="bold",
    fontsize="medium",
)
display(figure)

# %% [markdown]
# In brackets: test problems of the class. The two panels have different scales. This is the figure to think about. A
# gain on problems that the base model solved often anyway is no opened cliff. One explanation: GRPO sharpens its
# favourite answer and loses breadth, and HDPO keeps some of it. The distillation term then acts as a *regulariser*, a
# brake.
#
# > **Predict.** If so, GRPO must have *lost* pass@8 on these problems against its own base model. Has it?

# %%
for name, found in results.items():
    (change,) = compare(found.contrasts("test", "pass@8", [{"grpo": 1.0, "base": -1.0}], "base often"))
    lost = f"{signed(100 * change.value)} points of pass@8 of these problems"
    print(f"{name}: GRPO minus base model, on what the base often solves: {lost}")

# %% [markdown]
# It has, in both regimes. So a brake has something to save. On unlucky cliffs that is most of what HDPO gains.
#
# ## Are cliffs opened?
#
# The hardest question has a plain measure. Take the test problems that the base model never solved. How many does the
# trained model solve at least once in as many tries? These problems were not trained on: what counts is the skill.

# %%
arms = {name: arm_frame(found).set_index("run") for name, found in results.items()}
wanted = ["grpo", "hdpo-drifting-0.01", "hdpo-drifting-0.1", "hdpo-drifting-1"]
opened = pd.DataFrame({name: frame["value"].reindex(wanted) for name, frame in arms.items()}).map("{:.0%}".format)
for name, frame in arms.items():
    opened[f"seeds, {name}"] = frame["seeds"].reindex(wanted)
opened.rename_axis("share of never solved problems that are solved after training")

# %% [markdown]
# On true cliffs HDPO opens most of them from λ = 0.1 on, and GRPO almost none. On unlucky cliffs GRPO alone does about
# as well as HDPO at the paper's λ. Much of the share there is no learning at all: these problems were chosen because
# the base failed 64 times, and some of them have a success in the next 64 tries.
#
# ## Two signatures, and the paper's own
#
# Opened cliffs raise everything: greedy accuracy and pass@8 together. A brake trades: more breadth, less sharpness. So
# the *pair* of signs is a clue to which of the two you look at. The last row holds the paper's reported differences,
# mean of its two tables.

# %%
reported, rows = reported_scores(), {}
for level in (0.1, 1):
    for name in results:
        runs = [f"hdpo-{teacher}-{level}" for teacher in ("drifting", "frozen")]
        cells = {
            m: 100 * whole.loc[(name, m)].loc[runs, "diff"].mean() for m in ("greedy", "pass@1", "pass@4", "pass@8")
        }
        rows[f"{name}, λ = {level:g}"] = cells
mean = {f"hdpo-{teacher}-0.1": 0.5 for teacher in ("drifting", "frozen")} | {"grpo": -1.0}
paper = {metric: 100 * reported_contrasts(reported, mean, metric).mean() for metric in ("greedy", "pass@4", "pass@8")}
table = pd.DataFrame.from_dict(rows | {"the paper, λ = 0.1": paper}, orient="index")
table.map(signed).replace("+nan", "not reported").rename_axis("points above GRPO")

# %%
signs = np.sign(table[["greedy", "pass@8"]].round(1))
same = [row for row in rows if (signs.loc[row] == signs.loc["the paper, λ = 0.1"]).all()]
Markdown(
    f"The paper's pair at λ = 0.1 is greedy {signed(paper['greedy'])}, pass@8 {signed(paper['pass@8'])}."
    f" Rows with the same pair of signs: **{', '.join(same) or 'none'}**."
)

# %% [markdown]
# A sign is a hint only, where its difference is within the noise (see below). But on true cliffs greedy accuracy
# clearly rises with pass@8. In the paper it falls. So the paper's gains may be those of a brake, not of opened cliffs.
# This is a reading, not a proof, for three reasons. The clear match is at λ = 1, not at the paper's 0.1, and even there
# the fall of greedy accuracy is small. The paper reports the best score over training, this study the final one. And
# this is a toy model on number puzzles: only experiments at the paper's size can tell.
#
# ## How sure is it?
#
# Two sources of chance: other problems, and other seeds. An interval covers both. And since many differences are
# tested, some would look large by luck alone; **Holm's correction** asks more of each. A difference counts as *seen*
# if its corrected $p$ is at most .05.

# %%
family = effects[(effects["subset"] == "all") & (effects["metric"] != "pass@1")]
seen = family.assign(seen=family["p_holm"] <= 0.05, tested=family["p"].notna())
seen.groupby(["regime", "metric"], sort=False)[["tested", "seen"]].sum()

# %% [markdown]
# *Tested* counts differences with two seeds or more. What is not seen is not shown to be zero: each claim's verdict
# says how large an effect could have hidden.
#
# The verdicts below are milder than this table. Each asks one question that was fixed before, often of a mean over
# several runs, and its interval has no Holm correction. So a claim may be *reproduced* although none of its single
# differences is *seen*. Trust it less than one that is both.
#
# ## The verdicts
#
# Every claim of the paper got a rule before the runs (`hdpo/paper/claims.yaml`). The rule gives one of these verdicts:
#
# | verdict | meaning |
# |---|---|
# | reproduced | the 95 % interval lies on the claimed side of 0, and every part has the claimed sign |
# | mixed | the interval does, but a part does not (for cost: the slope is right, the fit is not) |
# | opposite sign | the interval lies on the other side of 0 |
# | no difference seen | it holds 0, and the study would have found an effect of interest |
# | smaller than this study can see | it holds 0, and the study is too small to say |
# | contradicted | a check of the theory fails, or a claimed “no change” is clearly a change |
# | undecided | the rule cannot say: no interval yet, or an interval across the margin of “no change” |
#
# A claim that nothing changes is *reproduced* if its 90 % interval lies within a margin, here ± 1 point.
#
# > **Predict.** Which of the paper's claims survive in both regimes?

# %%
checks = {name: pd.read_csv(f"results/reference/{study.name}/check.csv") for name, study in studies.items()}
pd.DataFrame({name: check["verdict"].value_counts() for name, check in checks.items()}).fillna(0).astype(int)

# %%
both = pd.concat({name: check.set_index(["id", "claim"])["verdict"] for name, check in checks.items()}, axis=1)
both.style.set_uuid("verdicts").set_table_styles(
    [{"selector": "th, td", "props": "text-align: left; white-space: normal"}]
)

# %% [markdown]
# Ids with *p* are predictions that were written down before the runs; ids with *x* go beyond the paper.
#
# ## The map, the controls, the bench: to come
#
# Two regimes are two points. Three larger studies are to explain them. This place is kept for their results:
#
# 1. **The map**: depth of the cliffs × $\lambda$ × steps. Where does help turn into hindrance?
# 2. **The controls**: does plain supervised training on the solution do as well? A wrong hint? No filter? A brake
#    without any hint?
# 3. **The bench**: other published methods for such problems, at equal cost.

# %%
for study_of in ("map", "controls", "bench"):
    found = sorted(path.name for path in Path("results/reference").glob(f"*{study_of}*"))
    print(f"{study_of:9} {', '.join(found) or 'nothing published here yet'}")

# %% [markdown]
# > **Predict, and keep it.** What will each of the three say? Write it down now; that is what a preregistration is.
#
# ## Try it
#
# Any difference, with its interval. `subset` may be `None`, `"size 5"`, `"base never"`, `"base rarely"`, `"base
# often"`.

# %%
regime, run, metric, subset = "true cliffs", "hdpo-drifting-0.1", "pass@8", "size 5"
(found,) = compare(results[regime].contrasts("test", metric, [{run: 1.0, "grpo": -1.0}], subset))
low, high = (signed(100 * end) if np.isfinite(end) else "unknown" for end in (found.low, found.high))
print(f"{signed(100 * found.value)} points [{low}, {high}], {len(found.seeds)} seeds, {found.problems:,} problems")

# %% [markdown]
# ## Exercises
#
# **1.** Compute one difference from raw outcomes: pass@1 of HDPO (drifting, $\lambda$ = 0.1) minus GRPO's, true cliffs,
# seed by seed. `results["true cliffs"].final[run, seed].samples` holds 0 or 1 for each problem and try.
#
# <details><summary>Solution</summary>
#
# ```python
# final = results["true cliffs"].final
# for seed in studies["true cliffs"].seeds:
#     if {("grpo", seed), ("hdpo-drifting-0.1", seed)} <= set(final):
#         difference = final["hdpo-drifting-0.1", seed].samples.mean() - final["grpo", seed].samples.mean()
#         print(f"seed {seed}: {signed(100 * difference)} points")
# ```
#
# </details>
#
# **2.** Why compare *pairs*, the same seed and the same problems? Compute the standard error of a greedy difference on
# one seed in both ways: with pairs, and as if the two runs had met different problems.
#
# <details><summary>Solution</summary>
#
# Easy problems are easy for both runs. In a difference of pairs that common part cancels.
#
# ```python
# final = results["true cliffs"].final
# seed = next(seed for run, seed in final if run == "hdpo-drifting-0.1")
# a, b = final["hdpo-drifting-0.1", seed].greedy, final["grpo", seed].greedy
# n = len(a)
# print(f"paired {100 * (a.astype(int) - b).std() / n**0.5:.2f} points, unpaired "
#       f"{100 * (a.var() / n + b.var() / n) ** 0.5:.2f} points")
# ```
#
# </details>
#
# **3.** With two seeds, a 95 % interval over seeds uses Student's $t$ with one degree of freedom. By what factor is it
# wider than with twenty seeds, at the same spread between seeds?
#
# <details><summary>Solution</summary>
#
# ```python
# from scipy.stats import t as student_t
#
# half = {n: student_t.ppf(0.975, n - 1) / n**0.5 for n in (2, 20)}
# print(f"{half[2] / half[20]:.0f} times as wide")
# ```
#
# This is why neighbouring rows of a half-finished study can have very unequal intervals.
#
# </details>
#
# **4.** Claims 1a and 1b rest on the *mean* gain of the paper's four HDPO runs. Would you call it “HDPO's effect”? What
# is lost?
#
# <details><summary>Solution</summary>
#
# The dose is lost. On true cliffs λ = 0.01 and λ = 0.1 differ by far more than the teachers do, and the mean of a weak
# and a strong dose is the effect of neither. The first figure shows the doses apart. The claims use the mean because
# the paper says “consistently”, which the kit reads as over teachers and λ. They ask for the sign of each run as well.
#
# </details>
#
# ## What to take along
#
# - Ask of every gain: on *which* problems? The same number can mean opened cliffs or a brake.
# - The pair of signs, greedy and pass@8, is a clue to which of the two it is. The split by problems decides.
# - A verdict needs a rule that was fixed before, and an interval that covers seeds.
