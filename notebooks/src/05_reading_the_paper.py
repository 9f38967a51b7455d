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
# # Lesson 5. Reading the paper
#
# *About 30 minutes to read, an hour if you write the code, with a pencil. You need no GPU to check a paper; often its
# own tables are enough.*
#
# The paper reports its results in two small tables. You audit them: what do the numbers themselves support, and under
# which assumptions? This is not fault-finding. A good paper gives enough to be checked, and this one does.
#
# Each section is an exercise: a question, an empty cell for you, and a folded solution with its output. Write your
# guess down, try, then unfold. The kit's full audit is `hdpo audit`; its code is in `hdpo/audit/`.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from scipy.stats import norm

from hdpo.audit.significance import reported_difficulty
from hdpo.claims.claims import load_claims
from hdpo.claims.reported import reported_hyperparameters, reported_scores
from hdpo.render.runs import run_label
from hdpo.render.style import PALETTE, log_ticks, use_style
from hdpo.stats.power import required_problems_for_shares
from hdpo.stats.proportions import correlation_needed, difference_se

use_style()
paper = reported_scores()  # the paper's Tables 1 and 3, as it prints them
METRICS = ["pass_at_1", "pass_at_4", "pass_at_8"]  # the paper's pass@1 is greedy accuracy
table = paper.set_index(["table", "run"])[METRICS].unstack("table").swaplevel(axis=1).sort_index(axis=1)
table.loc[list(dict.fromkeys(paper["run"]))].rename(index=run_label)

# %% [markdown]
# Table 1 is from eight H200 GPUs, Table 3 from eight H100. Each entry is *one* training run with *one* seed, and the
# *best* of its evaluations during training.
#
# ## 1. How many problems?
#
# The paper says that it evaluates on 2,048 problems. Can the numbers themselves confirm it? If each problem counts as
# right or wrong once, a score is a whole number over 2,048.
#
# > **Predict.** How many of the entries are such multiples, rounded to four decimals? How many would be by chance?

# %%
entries = paper[METRICS].to_numpy().ravel()
# your code: for which n are all entries multiples of 1/n?

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def fits(values, n):
#     return np.abs(np.round(np.round(values * n) / n, 4) - values) < 1e-9
#
#
# whole = [n for n in range(1, 5001) if fits(entries, n).all()]
# random = np.round(np.random.default_rng(0).random(100_000), 4)
# print(f"{fits(entries, 2048).sum()} of {len(entries)} entries fit n = 2048")
# print(f"of random numbers {fits(random, 2048).mean():.1%} do")
# print("all entries fit n =", whole)
# ```
#
# So the numbers do confirm it. (4,096 fits because it is twice 2,048.) They say more. An average of several samples per
# problem would lie on a finer grid. So pass@8 was “any of 8 draws is right”, with 8 draws, not the smoother estimate
# from more samples.
#
# </details>
#
# ## 2. Does the abstract match the tables?
#
# The abstract says what HDPO gains. These are the ranges that the paper quotes:

# %%
for claim in load_claims():
    if claim.quoted:
        print(f"{claim.statement}: {claim.quoted} ({claim.where})")

# %% [markdown]
# > **Predict.** A range such as “+0.8 to +1.1 %” could mean points or per cent of GRPO's score, in one table or in
# > both. Will one reading give both ends?

# %%
# your code: pass@4 of every HDPO run minus GRPO's, in points and in per cent, for each table

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# grpo = paper[paper["run"] == "grpo"].set_index("table")["pass_at_4"]
# for row in paper[paper["run"] != "grpo"].itertuples():
#     gain = row.pass_at_4 - grpo[row.table]
#     relative = gain / grpo[row.table]
#     print(f"Table {row.table}  {run_label(row.run):24} {100 * gain:+.2f} points  {100 * relative:+.2f} %")
# ```
#
# The upper end is the largest gain of Table 1 in points; the lower end is the smallest gain of Table 1 in *per cent*.
# No single reading gives both. A slip like this is common and harmless here, but it shows why one recomputes.
#
# </details>
#
# ## 3. “Consistently”
#
# > **Predict.** Of the eight differences in pass@8 (four HDPO runs, two tables), how many are positive?

# %%
# your code

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# for metric in METRICS:
#     base = paper[paper["run"] == "grpo"].set_index("table")[metric]
#     gains = [getattr(row, metric) - base[row.table] for row in paper[paper["run"] != "grpo"].itertuples()]
#     above, below = (sum(sign * gain > 0 for gain in gains) for sign in (1, -1))
#     print(f"{metric}: {above} of {len(gains)} above GRPO, {below} below")
# ```
#
# For pass@4 “consistently” holds: 8 of 8. For pass@8 it does not: one difference in each table is negative, both at
# λ = 0.01. The abstract's range, +0.4 to +1.7, leaves them out. At λ = 0.1 all four are positive.
#
# </details>
#
# ## 4. Could it be luck in the problems?
#
# A score over $n$ problems has a standard error of $\sqrt{p(1-p)/n}$. A difference of two runs on *different* problems
# has $\sqrt{(p_1(1-p_1) + p_2(1-p_2))/n}$. The same problems for both runs make it smaller; by how much depends on how
# alike the runs are, and the paper does not say.
#
# > **Predict.** How many of the pass@8 gains exceed 1.96 unpaired standard errors?

# %%
gains = paper.merge(paper[paper["run"] == "grpo"][["table", "pass_at_8"]], on="table", suffixes=("", "_grpo"))
gains = gains[gains["run"] != "grpo"].copy()
gains["gain"] = gains["pass_at_8"] - gains["pass_at_8_grpo"]
gains["se"] = [difference_se(row.pass_at_8_grpo, row.pass_at_8, 2048) for row in gains.itertuples()]
beyond = (gains["gain"].abs() > 1.96 * gains["se"]).sum()
figure, axis = plt.subplots(figsize=(4.4, 3.2))
runs = list(dict.fromkeys(gains["run"]))
for number, colour, shift in ((1, "blue", -0.12), (3, "orange", 0.12)):
    part = gains[gains["table"] == number].set_index("run").loc[runs]
    place = np.arange(len(runs)) + shift
    axis.errorbar(100 * part["gain"], place, xerr=196 * part["se"], fmt="o", ms=4, lw=1, color=PALETTE[colour])
    axis.annotate(
        f"Table {number}", (0.02, 0.93 if number == 1 else 0.86), xycoords="axes fraction", color=PALETTE[colour]
    )
axis.axvline(0, color=PALETTE["black"], lw=1)
axis.set(
    yticks=range(len(runs)), yticklabels=map(run_label, runs), xlabel="pass@8 above GRPO, points", ylim=(3.6, -1.2)
)
axis.set_title(f"{beyond} of {len(gains)} gains lie beyond their unpaired error", fontweight="bold", fontsize="medium")
display(figure)

# %% [markdown]
# The bars are 95 % intervals for two unrelated runs. Now be fair to the paper: the problems were the same.
#
# > **Your turn.** How strongly must the outcomes of the two runs correlate over problems for the largest gain to be
# > significant? `correlation_needed(first, second, n)` tells, from the two scores. Is that plausible?

# %%
print(correlation_needed.__doc__)
# your code

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# top = gains.loc[gains["gain"].idxmax()]
# needed = correlation_needed(top["pass_at_8_grpo"], top["pass_at_8"], 2048)
# print(f"{run_label(top['run'])}, Table {top['table']}: {100 * top['gain']:+.2f} points")
# print(f"z = {top['gain'] / top['se']:.2f}")
# print(f"correlation needed: {needed:.2f}")
# ```
#
# Very plausible: an easy problem is easy for both runs. So the largest gains are probably not an accident of these
# problems. But that covers only one kind of luck.
#
# </details>
#
# ## 5. Could it be luck in the training?
#
# Train twice with other random numbers, and the scores differ. The paper has one seed per entry. But it has two
# tables: each configuration was run on two kinds of hardware. Their disagreement is a rough measure of run-to-run
# luck.
#
# > **Your turn.** For every run and metric take the difference of the two tables. How does the typical size compare
# > with the gains? A difference of two runs scatters $\sqrt2$ times as much as one run.

# %%
# your code

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# first, second = (paper[paper["table"] == number].set_index("run")[METRICS] for number in (1, 3))
# spread = ((first - second) ** 2).mean().pow(0.5) / 2**0.5
# both = (first + second) / 2
# for metric in METRICS:
#     mean_gains = 100 * (both[metric] - both.loc["grpo", metric]).drop("grpo")
#     print(f"{metric}: scatter of one run {100 * spread[metric]:.2f} points; mean gains",
#           ", ".join(f"{run.removeprefix('hdpo-')} {gain:+.2f}" for run, gain in mean_gains.items()))
# ```
#
# At λ = 0.1 the fall of greedy accuracy and the rise of pass@8 are several times the scatter. At λ = 0.01 greedy
# accuracy and pass@8 stay within it; pass@4 goes beyond. Two runs with the same seed are a thin basis. But on this
# evidence λ = 0.1 does something, and what it does is a *trade*.
#
# </details>
#
# ## 6. “The best over training”
#
# Each run was evaluated again and again, and the paper reports the best score of each metric. Suppose that the true
# curve is flat. Then the best of many noisy evaluations still lies above it.
#
# > **Predict.** By how many points, for pass@8 at the paper's number of problems and evaluations?
#
# The noise of one evaluation on *fixed* problems is smaller than the binomial error, since many problems are nearly
# always or nearly never solved. The cell takes it from a spread of difficulties that has GRPO's own pass@4 and pass@8.

# %%
settings = reported_hyperparameters().set_index("key")
evaluations = int(settings.loc["train.steps", "value"]) // int(settings.loc["evaluate.every", "value"])
noise = reported_difficulty(paper).noise(8, problems=2048)  # of one evaluation, in shares
curves = noise * np.random.default_rng(0).normal(size=(2000, evaluations))  # flat, 2,000 times
best = np.maximum.accumulate(curves, axis=1).mean(0)
figure, axis = plt.subplots(figsize=(4.4, 2.8))
axis.plot(1 + np.arange(evaluations), 100 * best, color=PALETTE["blue"])
log_ticks(axis, (1, 10, 100, evaluations))
axis.annotate(
    "best so far", (12, 100 * best[11]), (-6, 8), textcoords="offset points", ha="right", color=PALETTE["blue"]
)
axis.axhline(100 * gains["gain"].max(), color=PALETTE["orange"])
axis.annotate(
    "largest gain reported, pass@8",
    (1, 100 * gains["gain"].max()),
    (0, 4),
    textcoords="offset points",
    color=PALETTE["orange"],
)
axis.set(xlabel="evaluations of a flat curve", ylabel="points above the truth", ylim=(0, 2))
axis.set_title(f"The best of {evaluations} looks {100 * best[-1]:.1f} points better than it is", fontweight="bold")
display(figure)

# %% [markdown]
# > **Your turn.** Does this explain the gains? Think about GRPO's entry before you unfold.
#
# <details><summary>Solution</summary>
#
# Not by itself. GRPO's entry is a best of as many, and the bias is about the same for both, so it cancels in a
# difference. It does not cancel if one curve is noisier than the other, or peaks early and falls. And the best pass@1
# and the best pass@8 may come from *different steps*: no single model need have both scores. That matters for a claim
# about a trade. The remedy is cheap: report the final weights, or choose the step on other problems.
#
# </details>
#
# ## 7. A formula
#
# The paper keeps the teacher's $k$ largest logits. Outside them the teacher has probability 0, and the student has
# $P_\text{rest}$ in all. The paper adds $P_\text{rest} \ln 2$ for that part and calls it exact.
#
# > **Your turn.** With $\mathrm{JSD} = \frac12 \mathrm{KL}(P \Vert M) + \frac12 \mathrm{KL}(Q \Vert M)$ and $P = 0$
# > there, what does a token of student probability $q$ add? Check your formula on random distributions.

# %%
# your code

# %% [markdown]
# <details><summary>Solution</summary>
#
# There $M = q/2$, so the token adds $\frac12 q \ln \frac{q}{q/2} = \frac12 q \ln 2$, and all of them $\frac12
# P_\text{rest} \ln 2$.
#
# ```python
# import math
#
# import torch
#
# generator = torch.Generator().manual_seed(0)
# teacher, student = (2 * torch.randn(512, generator=generator, dtype=torch.float64) for _ in range(2))
# inside = torch.zeros(512, dtype=torch.bool)
# inside[teacher.topk(64).indices] = True
# P, Q = teacher.masked_fill(~inside, -math.inf).softmax(0), student.softmax(0)
# M = (P + Q) / 2
# terms = (torch.xlogy(P, P / M) + torch.xlogy(Q, Q / M)) / 2
# rest = Q[~inside].sum()
# print(f"outside the top k, summed: {terms[~inside].sum():.4f}")
# print(f"½ P_rest ln 2 = {rest * math.log(2) / 2:.4f}, P_rest ln 2 = {rest * math.log(2):.4f}")
# ```
#
# The printed term is exact for the sum of both KL *without* the halves. The kit takes the exact one, and offers the
# printed one as `tail: paper`. Since the term falls when the student moves its mass into the teacher's top $k$, both
# push the same way; the printed one pushes that part twice as hard.
#
# </details>
#
# ## 8. What is not said
#
# To repeat a run one needs every setting. The kit lists them with their source in the paper. The next cell shows those
# that the paper leaves open, or that had to be taken from the defaults of its base framework.

# %%
settings[settings["source"].isin(["not stated", "[base]"])][["hyperparameter", "value", "source"]].style.set_uuid(
    "open"
).hide()

# %% [markdown]
# > **Your turn.** Which one of these could change the conclusion? (Lesson 1, exercise 3, has a hint.)
#
# <details><summary>Solution</summary>
#
# The privileged input $y^*$. With a whole worked solution the teacher can solve the problem; with the final answer
# alone it may not. And Proposition 2 fits the answer better than the solution (lesson 3). Next comes the number of
# privileged rollouts: it sets how often a cliff yields a demonstration at all.
#
# </details>
#
# ## 9. Your report
#
# > **Your turn.** Three sentences, as a referee: what do the tables support, what do they not, and what one thing
# > would you ask for? Then compare.
#
# <details><summary>One possible answer</summary>
#
# The tables support that λ = 0.1 trades greedy accuracy for pass@8, in both hardware runs. They do not support that
# gains at λ = 0.01 are consistent, nor that HDPO opens cliffs: no result is split by difficulty, so the gains may come
# from anywhere. I would ask for three seeds, with scores of the final weights, split by what the base model could
# solve.
#
# </details>
#
# ## Try it
#
# How many problems are needed so that a true gain from `a` to `b` is found in four of five studies (80 % *power*)?
# Assume that training itself adds no luck. `ρ` is the correlation of the two runs' outcomes.

# %%
largest = gains.loc[gains["gain"].idxmax()]
a, b, ρ = largest["pass_at_8_grpo"], largest["pass_at_8"], 0.5
print(f"{required_problems_for_shares(a, b, ρ):,} problems; two-sided p = .05 needs |z| > {norm.ppf(0.975):.2f}")

# %% [markdown]
# ## What to take along
#
# - Recompute what is quoted. Look at the grid on which numbers lie.
# - Ask for three kinds of luck: in the problems, in the training, in the choice of the best.
# - Be fair: pairing and repeats can make a small difference credible. Say under which assumption.
# - Then ask what no interval answers: *on which problems?* That was lesson 4.
