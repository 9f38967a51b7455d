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
# # 2. Proposition 1: how far apart can teacher and student be?
#
# HDPO's teacher is the student itself, shown the answer. The paper argues that such a teacher is close to the
# student, closer than another model could be guaranteed to be. Its Proposition 1 makes the argument with an
# upper bound on the Kullback–Leibler (KL) divergence between two softmax distributions. Here we check the
# bound, see how tight it is, and separate what is proved from what the wording suggests.
#
# | symbol | meaning |
# |---|---|
# | $z \in \mathbb{R}^V$ | logits over a vocabulary of $V$ tokens; $\mathrm{softmax}(z)$ is the distribution |
# | $\delta$ | the difference between two logit vectors |
# | $\lVert\delta\rVert_\infty$ | its largest entry in absolute value |
# | $c_S, c_T$ | what the student sees (the problem), and what the teacher sees (the problem and the hint) |
# | $\theta, \varphi$ | the student's weights, and another model's weights |
# | $f_\theta(c)$ | the logits of model $\theta$ in context $c$ |
# | $P_S, P_T$ | the student's and the teacher's distributions |
# | $L$, $\Delta$ | a Lipschitz constant of $f_\theta$, and the distance between the two contexts |

# %%
# %matplotlib inline
from pathlib import Path

import pandas as pd

from hdpo.study.study import load_study
from hdpo.theory import bounds, figures

pd.set_option("display.precision", 4)

# %% [markdown]
# ## Lemma 1
#
# $$\mathrm{KL}\big(\mathrm{softmax}(z) \,\Vert\, \mathrm{softmax}(z + \delta)\big)
# \;\le\; \tfrac12 \lVert\delta\rVert_\infty^2 .$$
#
# With $P = \mathrm{softmax}(z)$ the left-hand side equals $\log \mathbb{E}_P[e^{\delta}] -
# \mathbb{E}_P[\delta]$, which Hoeffding's lemma bounds by $(\max\delta - \min\delta)^2 / 8$. This second form
# is never larger. Unlike the first, it does not change if a constant is added to all logits, as the
# distribution does not either. The lemma itself follows, since the range of $\delta$ is at most
# $2\lVert\delta\rVert_\infty$.
#
# How tight is it? The figure divides the KL by the sharper bound. Grey points are random logits. The line is
# the largest value that any $z$ and $\delta$ of that range can reach, and the orange points were found by
# gradient ascent from random starts, without knowing the line.

# %%
figures.tightness_figure(bounds.tightness_curve())

# %% [markdown]
# For small differences the bound cannot be improved. For larger ones it grows with the square of the
# difference, whereas the largest possible KL grows only about linearly, so the bound says less and less.
#
# ## Proposition 1
#
# Two teachers are compared. Both see $c_T$; one has the student's own weights.
#
# - **(i) same model:** $\mathrm{KL}(P_T \Vert P_S) \le \tfrac12 L^2\Delta^2$.
# - **(ii) another model** $\varphi$**:**
#   $\mathrm{KL}(P_T \Vert P_S) \le \tfrac12 \big(L\Delta + \lVert f_\varphi(c_T) - f_\theta(c_T) \rVert_\infty\big)^2$.
#
# The second bound is the first with something added, so it is the larger one. Both are *upper* bounds. The
# paper's wording is that the same-model teacher has a "strictly tighter gap". The bounds alone do not give
# that: a quantity under a higher ceiling may still be the lower one.
#
# The figure draws random linear models $f_\theta(c) = W c$ with another model near each. Left: every gap
# against its own bound. Right: the two gaps of each pair. Below the dashed line the *other* model is nearer to
# the student.

# %%
pairs = bounds.model_pairs(500)
figures.bound_figure(pairs)

# %%
pd.Series(
    {
        "largest gap over bound, same model": (pairs["same_kl"] / pairs["same_bound"]).max(),
        "largest gap over bound, other model": (pairs["cross_kl"] / pairs["cross_bound"]).max(),
        "share of pairs with bound (i) < bound (ii)": (pairs["same_bound"] < pairs["cross_bound"]).mean(),
        "share of pairs with the other model's gap smaller": (pairs["cross_kl"] < pairs["same_kl"]).mean(),
    },
    name="value",
).to_frame()

# %% [markdown]
# ## A counter-example one can hold in the hand
#
# Let another model $\varphi$ answer in the teacher's context exactly what the student answers in its own:
# $f_\varphi(c_T) = f_\theta(c_S)$. Its gap is zero. It still has the larger bound, because the bound charges it
# for differing from $\theta$ on $c_T$, and differing is what closes the gap.

# %%
example = bounds.counter_example()
pd.DataFrame(
    {
        "gap, KL (nats)": [example["same_kl"], example["cross_kl"]],
        "bound of Proposition 1": [example["same_bound"], example["cross_bound"]],
    },
    index=["same model", "other model"],
)

# %% [markdown]
# So the proposition holds as a statement about bounds, and fails as a statement about gaps. A zero gap is not
# what one wants of a teacher, either: a teacher equal to the student has nothing to teach. Whether a *small*
# gap is good is an empirical question that the proposition does not touch.
#
# ## On a language model
#
# The same quantities on the small world's base model: a transformer that solves arithmetic puzzles. For each
# development problem, the worked solution is run through the model twice, after the plain prompt and after the
# prompt with the hint. Each of its tokens gives one pair of logit vectors, hence one KL and one bound, from the
# same two forward passes. $L\Delta$ is replaced by the measured $\lVert f_\theta(c_T) -
# f_\theta(c_S)\rVert_\infty$, the smallest value it can have.

# %%
root = next((p for p in (Path("."), Path("..")) if (p / "config" / "small.yaml").is_file()), None)
study = load_study(root / "config" / "small.yaml") if root else None
base = root / study.model.path if study else None
other = base.with_name("base-other-seed") if base else None
has_base = base is not None and (base / "config.json").is_file()
has_other = has_base and (other / "config.json").is_file()
if not has_base:
    print("The small world's base model has not been built here; this section is skipped.")
elif not has_other:
    print("The base model is here; no second model of another seed is, so the cross-model columns are left out.")

# %%
gaps = None
if has_base:
    from hdpo.theory.model_gap import study_gaps

    gaps = study_gaps(study, base)
gaps.drop(columns=["sequence", "position"]).quantile([0.05, 0.5, 0.95, 1.0]) if has_base else None

# %% [markdown]
# If the model is there, the table gives quantiles over tokens, in nats (the last row is the largest value), and
# the figure puts each token's KL against the bound from the same passes.

# %%
figures.model_gap_figure(gaps) if has_base else None

# %%
if has_base:
    violations = (gaps["same_kl"] > gaps["same_bound"] * (1 + 1e-9)).sum()
    ratio = (gaps["same_bound"] / gaps["same_kl"].clip(lower=1e-12)).median()
    print(f"{violations} of {len(gaps)} tokens exceed the bound; at the median token it is {ratio:.3g} times the KL.")
if has_other:
    smaller = (gaps["cross_kl"] < gaps["same_kl"]).mean()
    print(
        f"At {smaller:.1%} of tokens the model of another seed is nearer to the student than its own privileged self."
    )
