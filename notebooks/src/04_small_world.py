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
# # 4. The small world's result, beside the paper's
#
# The first three notebooks ask what the theory says. This one reads the committed run of the kit's default study,
# `results/reference/small/`: GRPO and HDPO trained on Countdown arithmetic with a transformer of half a million
# parameters, on a CPU. It trains nothing. Every number below is computed here from the recorded outcomes.
#
# | symbol | meaning |
# |---|---|
# | $\lambda$ | weight of the distillation term; $\lambda = 0$ is GRPO |
# | drifting, frozen | the privileged teacher has the current weights, or those before training |
# | greedy | share of problems solved by the most likely tokens; the paper's "pass@1" |
# | pass@$k$ | chance that at least one of $k$ sampled answers is correct |
# | $\Delta$ | difference to GRPO on the same seeds and problems |
# | MDE | minimum detectable effect: the true difference that this study would find with 80 % power |

# %%
# %matplotlib inline
import os
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from hdpo.claims.check import count_verdicts
from hdpo.claims.claims import claims_of
from hdpo.claims.results import Results, summarise
from hdpo.report import figure_data, figures
from hdpo.study.study import load_study

os.chdir(next(path for path in (Path("."), Path("..")) if (path / "config" / "small.yaml").is_file()))
study = load_study("config/small.yaml")
REFERENCE = Path("results/reference/small")
results = Results(study.model_copy(update={"published": True}))
summary = summarise(results)
pd.set_option("display.precision", 3)

# %% [markdown]
# ## What was trained on
#
# A problem gives two to five numbers and a target; the answer is a chain of operations that uses each number
# once. Two numbers are easy for the base model, five are mostly out of its reach, and shown a reference chain the
# same weights solve most of those. The table is the base model on the test problems, by problem size.

# %%
base = results.final[("base", 0)]
metrics = ["greedy", "pass@1", "pass@4", "pass@8"]
pd.DataFrame({metric: base.score(metric) for metric in metrics}).groupby(base.difficulty).mean().rename_axis("numbers")

# %% [markdown]
# ## What training did
#
# Validation scores during training, mean and range over seeds. GRPO is the same curve in both rows. Watch two things
# separately: pass@1, which rises when the policy concentrates on answers that it already finds, and pass@8, which
# rises only when problems come into reach that were out of it.

# %%
figures.learning_curves(figure_data.learning_frame(results), study.runs)

# %% [markdown]
# HDPO's extra signal comes from cliffs, and from the privileged rollouts that solve them. The left panel shows how
# many of a step's prompts are cliffs, the right how often the teacher's rollouts on them are correct. A cliff
# fraction that does not fall means that neither method makes the hard problems solvable at the rate at which
# training sharpens the rest.

# %%
figures.cliffs(figure_data.cliff_frame(results), study.runs)

# %% [markdown]
# ## The headline table
#
# Final weights, test problems that nothing was tuned on, mean over seeds. The interval is for other seeds and
# problems and keeps the pairing. Its degrees of freedom (df) say how many of them its width rests on.

# %%
display(Markdown((REFERENCE / "tables/headline.md").read_text(encoding="utf-8")))

# %% [markdown]
# The paper's pattern is a trade: to the left (lower greedy accuracy) and up (higher pass@8) as $\lambda$ grows. The
# left panel is this study with intervals, the right one the paper's entries, one seed each.

# %%
figures.tradeoff(figure_data.tradeoff_frame(summary), study.runs)

# %% [markdown]
# ## How much could have been seen
#
# A difference that is not significant says little without the size that would have been. For each run: the measured
# difference and the MDE, in points. Where the MDE is larger than the gains that the paper reports, a
# null result here does not contradict the paper.

# %%
test = summary[(summary["protocol"] == "test") & summary["metric"].isin(metrics) & summary["run"].isin(study.runs[1:])]
points = (100 * test.set_index(["run", "metric"])[["diff", "diff_mde"]]).unstack()
points.reindex(study.runs[1:]).reindex(columns=metrics, level=1).round(1)

# %% [markdown]
# ## The best of several evaluations
#
# The paper reports each metric's best value over training. The maximum of noisy numbers lies above their common
# mean, so "best" flatters every run; by how much depends on how often and on how few problems one evaluates. Below,
# validation problems, points: best over training minus the last evaluation, and minus the evaluation that was chosen
# on *other* (development) problems.

# %%
wide = 100 * summary[summary["protocol"] != "test"].pivot_table(
    index="run", columns=["metric", "protocol"], values="mean", sort=False
)
pd.DataFrame(
    {
        f"{metric}, best − {other}": wide[metric]["best"] - wide[metric][other]
        for metric in metrics
        for other in ("last", "selected")
    }
).round(1)

# %% [markdown]
# ## Verdicts
#
# Each claim with the rule that was fixed before the runs (`hdpo/paper/claims.yaml`). Where the interval of a difference
# contains zero, *no difference seen* means that the study would find an effect of interest with 80 % power, and
# *smaller than this study can see* that it would not; the MDE says what it would find. *Mixed*: the interval lies on
# the claimed side, and a part of the claim does not. First the counts by kind of claim, then every verdict.

# %%
verdicts = pd.read_csv(REFERENCE / "check.csv")
pd.DataFrame(count_verdicts(claims_of(study), verdicts["verdict"])).fillna(0).astype(int)

# %%
verdicts[["id", "claim", "reported", "measured", "MDE", "verdict"]].set_index("id").style.set_table_styles(
    [{"selector": "td", "props": "text-align: left; white-space: normal"}]
)

# %% [markdown]
# ## What this does and does not say
#
# The small world shares the paper's mechanism (cliffs, a privileged policy of the same weights, the R = 1 filter,
# the token-level divergence) and not its scale: half a million parameters, problems with answers of at most
# two dozen tokens, tens of steps. A verdict here is about the mechanism in this regime. The same workflow runs the
# paper's scale from `config/paper.yaml`, for whoever has the GPUs; until then those cells say *not run*.
