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
# # Lesson 3. Why it works, and where the argument stops
#
# *About 30 minutes. Lessons 1 and 2 showed that HDPO opens a cliff. Here you see why, in cases small enough to compute.*
#
# The paper gives two propositions. One says that a teacher with the student's own weights is a *close* teacher. The other
# says that its filtered answers are the *right* target. You check both, and find the place where each says less than it
# seems to.
#
# Two cells have sliders. They need a running notebook; above each stands a figure that needs none.

# %%
# %matplotlib inline
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from ipywidgets import FloatLogSlider, IntSlider, fixed, interact

from hdpo.render.style import PALETTE, use_style
from hdpo.study.study import load_study
from hdpo.theory.bandit import make_bandit
from hdpo.theory.distillation import distil_sequence_level, distil_token_level, random_teacher, sequence_logp
from hdpo.theory.model_gap import study_gaps

os.chdir(next(folder for folder in (Path("."), Path("..")) if (folder / "config").is_dir()))
use_style()
pd.set_option("display.precision", 3)
BLUE, ORANGE, GREY = PALETTE["blue"], PALETTE["orange"], PALETTE["grey"]


def softmax(z):
    """Probabilities along the last axis."""
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# %% [markdown]
# ## A bandit: one problem, twelve answers
#
# Shrink the model to its bones. There is one problem with twelve possible answers, the *arms*; four are right. The
# student's distribution is $\mathrm{softmax}(W c)$, where $c$ describes the prompt. A hint $h$ changes the input and
# nothing else, so the teacher is $\mathrm{softmax}(W (c + B h))$ with the *same* weights $W$. As in a language model, a
# step on the student moves the teacher too.

# %%
toy = make_bandit(n_arms=12, n_correct=4, success=0.03, rng=np.random.default_rng(0))
arms = {"right": toy.reward.astype(int), "student": np.exp(toy.student_logp())}
arms |= {"teacher": np.exp(toy.teacher_logp([3.0, 0.0]))}  # a hint that lifts every right arm by 3 nats of logit
pd.DataFrame(arms).rename_axis("arm").T

# %% [markdown]
# Below is HDPO on the bandit. $p$ is the student's chance of a right answer at the start: the *depth* of the cliff. A
# problem looks like a cliff in a step with probability $(1 - p)^G$.
#
# The gradient of the JSD in the student's logits is $S_k (g_k - \sum_j S_j g_j)$ with $g_k = \frac12 \log (S_k / M_k)$.
#
# > **Predict.** At $p$ = 1/10, 1/100, 1/1000: about how many steps will GRPO need to reach $p$ = 1/2? And HDPO?


# %%
def climb(p, weight, group=16, tries=4, steps=1500, rate=1.0, seed=0, filtered=False):
    """The student's p at every step. GRPO where the weight λ is 0, else HDPO."""
    rng, bandit = np.random.default_rng(seed), make_bandit(12, 4, p, np.random.default_rng(0))
    W, c, reward = bandit.weights.copy(), bandit.context, bandit.reward
    hinted, path = c + bandit.hint_map @ [3.0, 0.0], []
    for _ in range(steps):
        student, teacher = softmax(W @ c), softmax(W @ hinted)
        path.append(student @ reward)
        drawn = rng.choice(12, size=group, p=student)
        r, ascent = reward[drawn], np.zeros(12)
        if r.any():  # GRPO's term; all advantages are 0 on a cliff
            ascent = (r - (r.sum() - r) / (group - 1)) @ (np.eye(12)[drawn] - student) / group
        elif weight and reward[rng.choice(12, size=tries, p=teacher)].any():  # a cliff with a demonstration
            teacher = teacher * reward / (teacher @ reward) if filtered else teacher  # exercise 3; the paper does not
            g = np.log(2 * student / (student + teacher)) / 2
            ascent = -weight * student * (g - student @ g)
        W += rate * np.outer(ascent, c) / (c @ c)
    return np.array(path)


def draw_climb(p=0.01, weight=1.0, group=16, axis=None):
    """Both methods from the same depth, eight seeds each."""
    if alone := axis is None:
        figure, axis = plt.subplots(figsize=(4.4, 2.6))
    said = []
    for place, (name, λ, colour) in enumerate((("GRPO", 0.0, ORANGE), ("HDPO", weight, BLUE))):
        paths = np.array([climb(p, λ, group, seed=seed) for seed in range(8)])
        axis.plot(1 + np.arange(paths.shape[1]), paths.T, color=colour, lw=0.8, alpha=0.7)
        reached = np.where((paths > 0.5).any(1), (paths > 0.5).argmax(1), np.inf)
        said.append(f"{name} {np.median(reached):.0f}" if np.isfinite(np.median(reached)) else f"{name} never here")
        axis.annotate(name, (0.02, 0.85 - 0.14 * place), xycoords="axes fraction", color=colour)
    axis.set(xscale="log", xlabel="step", ylabel="student's $p$", ylim=(0, 1))
    axis.set_title(f"$p$ = {p:.2g}: half of the way after {', '.join(said)}", fontsize="medium", fontweight="bold")
    if alone:
        display(figure)
        plt.close(figure)


figure, axes = plt.subplots(3, 1, figsize=(4.4, 6.6), sharex=True)
for depth, axis in zip((0.1, 0.01, 0.001), axes, strict=True):
    draw_climb(depth, axis=axis)
for axis in axes[:2]:
    axis.set_xlabel("")
figure

# %% [markdown]
# At a shallow depth both climb alike: GRPO's rollouts see successes at once. The deeper the cliff, the longer GRPO stands
# still, until luck brings a first success. HDPO does not wait for luck. Move the sliders: which of depth, $\lambda$ and
# $G$ decides how far the two are apart?

# %%
interact(
    draw_climb,
    p=FloatLogSlider(0.01, min=-3.5, max=-0.5, description="depth p", continuous_update=False),
    weight=FloatLogSlider(1.0, min=-2, max=1, description="λ", continuous_update=False),
    group=IntSlider(16, min=4, max=64, description="G", continuous_update=False),
    axis=fixed(None),
);

# %% [markdown]
# ## A first signal is not yet a way out
#
# The JSD has a gradient on every cliff. But how large is it? Take one token to which the student gives probability $s$
# and the teacher one half. Then the pull on that token's logit is $\frac12 s (1 - s) [\mathrm{logit}\, m -
# \mathrm{logit}\, s]$ with $m = \frac12 (s + \frac12)$. It falls nearly in proportion to $s$.
#
# The puzzle of lesson 1 has an answer of 24 tokens with a probability of about $10^{-10}$. Compare it with a problem of
# *one* token of that probability.
#
# > **Predict.** On which of the two does the distillation term work? By what factor do the pulls differ?


# %%
def pull(s, teacher=0.5):
    """−∂JSD/∂logit of a token with probability s, between two Bernoulli distributions."""
    m = (s + teacher) / 2
    return 0.5 * s * (1 - s) * (np.log(m / (1 - m)) - np.log(s / (1 - s)))


p = 1e-10
cases = {"one token": p, "each of 24 tokens": p ** (1 / 24)}
s = np.logspace(-11, -0.4, 200)
figure, axis = plt.subplots(figsize=(4.4, 3))
axis.loglog(s, pull(s), color=GREY)
for (name, share), colour in zip(cases.items(), (ORANGE, BLUE), strict=True):
    axis.plot(share, pull(share), "o", color=colour)
    axis.annotate(name, (share, pull(share)), (-6, 6), textcoords="offset points", ha="right", color=colour)
axis.get_lines()[1].set_clip_on(False)
axis.texts[0].set(ha="left", position=(8, -4))
ratio = pull(p ** (1 / 24)) / pull(p)
axis.set(xlabel="probability of the token under the student", ylabel="pull of the JSD on its logit")
axis.set_title(f"Same cliff, p = 1e-10: spread over 24 tokens\nthe pull is {ratio:.0e} times as strong", fontweight="bold")
figure

# %% [markdown]
# So distillation opens cliffs that are long walks of moderately unlikely words, as in lesson 1, where no single word was
# hopeless. It does not open a cliff that hangs on one word which the student never says. The paper does not make
# this difference.
#
# ## Proposition 1: the teacher is near
#
# How far is the student from its teacher? The **Kullback–Leibler divergence** $\mathrm{KL}(P \Vert Q) = \sum P \log
# (P/Q)$ is 0 if they are equal. The paper's Lemma 1 bounds it by the difference $\delta$ of the logits:
#
# $$\mathrm{KL}\big(\mathrm{softmax}(z) \,\Vert\, \mathrm{softmax}(z + \delta)\big) \;\le\; \tfrac12 \max_k |\delta_k|^2 .$$
#
# > **Predict.** Draw random logits and differences. Will some pairs break the bound? Will some come near it?


# %%
def kl(z, w):
    """KL(softmax(z) ‖ softmax(w)) along the last axis."""
    P, Q = softmax(z), softmax(w)
    return (P * np.log(P / Q)).sum(-1)


rng = np.random.default_rng(1)
z = 2 * rng.normal(size=(3000, 8))
δ = rng.normal(size=z.shape) * 10 ** rng.uniform(-2, 1, (3000, 1))
pairs = pd.DataFrame({"KL": kl(z, z + δ), "bound": np.abs(δ).max(1) ** 2 / 2})
figure, axis = plt.subplots(figsize=(4.4, 3.2))
axis.loglog(pairs["bound"], pairs["KL"], ".", ms=2, color=BLUE)
ends = np.array([pairs["bound"].min(), pairs["bound"].max()])
axis.loglog(ends, ends, color=ORANGE)
axis.annotate("KL = bound", (ends[1], ends[1]), (-8, -1), textcoords="offset points", ha="right", color=ORANGE)
above = (pairs["KL"] > pairs["bound"]).sum()
axis.set(xlabel="bound of Lemma 1", ylabel="KL (nats)")
axis.set_title(f"{above} of {len(pairs):,} random pairs exceed the bound", fontweight="bold")
figure

# %% [markdown]
# Proposition 1 uses the lemma for two teachers, both with the hint: the student's own weights $\theta$, and another
# model $\varphi$. The other model's bound is the first with something added, so it is *larger*. The paper concludes that
# the same-model teacher has the "strictly tighter gap".
#
# > **Predict.** Two boats float below two bridges. One bridge is higher. Which boat is higher?
#
# Here is a pair to hold in the hand. Let the other model say, with the hint, exactly what the student says without.

# %%
student, own_teacher = np.array([1.0, 0.0, -1.0]), np.array([2.5, 0.0, -1.0])  # logits: plain, and with the hint
other_teacher = student.copy()  # φ with the hint
own_step, other_step = (np.abs(own_teacher - logits).max() for logits in (student, other_teacher))
pd.DataFrame(
    {
        "gap, KL": [kl(own_teacher, student), kl(other_teacher, student)],
        "bound of Proposition 1": [own_step**2 / 2, (own_step + other_step) ** 2 / 2],
    },
    index=["same model", "other model"],
)

# %% [markdown]
# The other model has the larger bound and the smaller gap: none. The proposition is true of bounds, and its wording is
# not true of gaps. Is this a trick of small numbers? We ask the two committed base models that differ in nothing but
# their random seed, at every token of the development problems' reference solutions.

# %%
study = load_study("config/small.yaml")
gaps = study_gaps(study, Path(study.base_path))
print(f"tokens: {len(gaps):,}; KL above the bound: {(gaps['same_kl'] > gaps['same_bound'] * (1 + 1e-9)).sum()}")
print(f"bound over KL at the median token: {(gaps['same_bound'] / gaps['same_kl'].clip(lower=1e-12)).median():,.0f}")
print(f"tokens where the other model is nearer to the student: {(gaps['cross_kl'] < gaps['same_kl']).mean():.0%}")

# %% [markdown]
# The bound holds everywhere and is loose, and the other model is often the nearer one. Nor is a small gap an aim by
# itself: a teacher equal to the student teaches nothing.
#
# ## Proposition 2: what should the student become?
#
# Ideal RL would look for the policy with the best reward that stays near a reference policy $\pi_\mathrm{ref}$:
# maximise $\mathbb{E}_\pi[R] - \beta\, \mathrm{KL}(\pi \Vert \pi_\mathrm{ref})$. The paper's Proposition 2 gives the
# answer in closed form,
#
# $$\pi^*_\beta(y) \propto \pi_\mathrm{ref}(y)\, e^{R(y)/\beta} .$$
#
# We let gradient ascent find the optimum without telling it the formula, and compare.

# %%
ref, reward = torch.tensor(toy.student_logp()), torch.tensor(toy.reward)


def optimum(β):
    """π*_β by the formula."""
    return (ref + reward / β).softmax(0)


rows = {}
for β in (1.0, 0.5, 0.25):
    logits = ref.clone().requires_grad_()
    for _ in range(4000):
        π = logits.softmax(0)
        objective = (π * reward).sum() - β * (π * (π.log() - ref)).sum()
        (gradient,) = torch.autograd.grad(objective, logits)
        logits = (logits + gradient / (β * π.detach())).detach().requires_grad_()  # large steps for small π
    rows[β] = {"success": float((π * reward).sum()), "largest difference": float((π - optimum(β)).abs().max())}
pd.DataFrame.from_dict(rows, orient="index").rename_axis("β")

# %% [markdown]
# They agree. Now let $\beta$ go to 0, so that reward counts ever more.
#
# > **Predict.** Where does the probability go? What happens to the *odds* between two right arms?


# %%
def draw_optimum(β=0.2, axis=None):
    """The optimum at one β beside the reference, arm by arm."""
    if alone := axis is None:
        figure, axis = plt.subplots(figsize=(4.4, 2.2))
    π, right = optimum(β), toy.reward == 1
    axis.bar(np.arange(12)[right], π[right], color=BLUE)
    axis.bar(np.arange(12)[~right], π[~right], color=GREY)
    axis.plot(np.arange(12), ref.exp(), "_", ms=14, color=PALETTE["black"])
    odds = float(π[0] / π[1])
    axis.set(ylabel="probability", ylim=(0, 0.6), xticks=[])
    axis.set_title(f"β = {β:.2g}: success {float(π @ reward):.2f}, odds of the first two {odds:.2f}", fontsize="medium")
    if alone:
        display(figure)
        plt.close(figure)


figure, axes = plt.subplots(3, 1, figsize=(4.4, 5.4))
for β, axis in zip((1.0, 0.25, 0.05), axes, strict=True):
    draw_optimum(β, axis)
axes[0].annotate("right arms", (1.5, 0.45), color=BLUE, ha="center")
axes[0].annotate("wrong arms; dashes: the reference", (7.5, 0.45), color=GREY, ha="center")
figure.suptitle("Mass moves from wrong to right; the odds among right arms stay", fontweight="bold", fontsize="medium")
figure

# %%
interact(draw_optimum, β=FloatLogSlider(0.2, min=-1.5, max=1, description="β"), axis=fixed(None));

# %% [markdown]
# In the limit the optimum is $\pi_\mathrm{ref}(\cdot \mid R = 1)$: the reference's own right answers, in their own
# proportions. One reaches it by **rejection sampling**: draw from the reference, keep what is right. That is HDPO's
# filter. It costs $1/p$ draws for each kept one, so on a cliff one cannot pay. Hence the hint.
#
# ## Where practice departs from the proposition
#
# **First departure: the samples come from the hinted policy.** It is a *proxy* for the reference. A hint can say
# *whether* an answer is right, or also *which* right answer to take. A worked solution does the second.
#
# > **Predict.** Which of these hints leaves the odds among right arms as they were?

# %%
hints = {"the answer: lifts all right arms": [3.0, 0.0], "a worked solution: lifts one": [0.0, 3.0]}
target = np.exp(toy.target_logp())
rows = {"target: the student's own right answers": target[:4]}
for name, hint in hints.items():
    hinted = np.exp(toy.teacher_logp(hint)) * toy.reward
    rows[name] = (hinted / hinted.sum())[:4]
pd.DataFrame.from_dict(rows, orient="index", columns=[f"right arm {i}" for i in range(4)])

# %% [markdown]
# A hint that names the answer leaves the target exactly as Proposition 2 wants it. A worked solution bends it towards
# the solution shown. The student then learns *that* way, not its own.
#
# **Second departure: the loss compares tokens.** The filter decides *where* student and teacher are compared: along
# right answers. But what they are compared *to* is the teacher's next-token distribution, and that one knows nothing of
# the filter. Follow the loss to its minimum with answers of two tokens, by search:
#
# > **Predict.** Will the student end above, at, or below the success rate of the unfiltered teacher?

# %%
first, second = random_teacher(4, np.random.default_rng(2))
is_right = np.isin(np.arange(16), [1, 6, 7]).astype(float)  # of the 16 answers of two tokens
by_token = sequence_logp(*distil_token_level(first, second, is_right))
by_answer = distil_sequence_level(first, second, is_right)
success = {"teacher, unfiltered": sequence_logp(first, second)}
success |= {"student of HDPO's loss, at its minimum": by_token, "student that imitates the kept answers": by_answer}
pd.Series({name: float(np.exp(logp) @ is_right) for name, logp in success.items()}).to_frame("success")

# %% [markdown]
# At its minimum HDPO's loss makes the student as good as the *unfiltered* teacher. In training this seldom matters: the
# term acts only while a problem is a cliff, and as soon as a success appears, GRPO takes over (lesson 2).
#
# ## Try it
#
# A teacher whose hint is weak, on a deep cliff. Change the hint's strength in nats and the depth; runs in seconds.

# %%
strength, depth = 1.0, 0.003
weak = make_bandit(12, 4, depth, np.random.default_rng(0))
teacher_p = float(np.exp(weak.teacher_logp([strength, 0.0])) @ weak.reward)
kept = 1 - (1 - teacher_p) ** 4
print(f"student {depth:.1%}, teacher {teacher_p:.1%}: a demonstration in {kept:.1%} of steps, from 4 tries")
print(f"GRPO sees a success in {1 - (1 - depth) ** 16:.1%} of steps, from 16 rollouts")

# %% [markdown]
# ## Exercises
#
# **1.** Add the same constant to all entries of $\delta$. What happens to the KL, and to the bound? Find a sharper bound.
#
# <details><summary>Solution</summary>
#
# Softmax ignores the constant, so the KL stays and the bound changes. $(\max\delta - \min\delta)^2 / 8$ ignores it as
# well, and is never larger (Hoeffding's lemma).
#
# ```python
# print("KL is unchanged:", np.allclose(kl(z, z + δ), kl(z, z + δ + 1)))
# sharper = np.ptp(δ, axis=1) ** 2 / 8
# print("sharper bound: exceeded", int((kl(z, z + δ) > sharper * (1 + 1e-9)).sum()), "times; ",
#       "larger than Lemma 1's", int((sharper > pairs["bound"] * (1 + 1e-9)).sum()), "times")
# ```
#
# </details>
#
# **2.** At which $\beta$ does the optimum succeed half of the time, for a reference with success $p$?
#
# <details><summary>Solution</summary>
#
# Right arms gain the factor $e^{1/\beta}$, so $p\, e^{1/\beta} = 1 - p$ and $\beta = 1 / \log((1 - p) / p)$.
#
# ```python
# β = 1 / np.log((1 - 0.03) / 0.03)
# print(f"β = {β:.3f}, success {float(optimum(β) @ reward):.3f}")
# ```
#
# The deeper the cliff, the smaller this $\beta$, but only with the logarithm of $1/p$.
#
# </details>
#
# **3.** In `climb`, the JSD pulls towards the unfiltered teacher, as in the paper. With `filtered=True` it pulls towards
# the teacher's right arms only, rescaled. Predict: does the student climb faster?
#
# <details><summary>Solution</summary>
#
# ```python
# for filtered in (False, True):
#     paths = [climb(0.001, 1.0, seed=seed, filtered=filtered) for seed in range(8)]
#     print(f"filtered={filtered}: p = 1/2 after {np.median([(path > 0.5).argmax() for path in paths]):.0f} steps")
# ```
#
# On a deep cliff both pull nearly alike, because the student is far from either. The filter would matter near the top,
# where the unfiltered teacher holds the student back; but there GRPO does the work.
#
# </details>
#
# ## What to take along
#
# - GRPO's wait grows like $1/p$; HDPO's depends on how often the *teacher* succeeds.
# - The pull of the JSD is strong where failure is spread over many words, and nearly nil where it hangs on one.
# - Proposition 1 compares bounds, not gaps. Another model can be nearer.
# - Proposition 2 names the right target. A worked solution bends it, and the token-level loss aims at the teacher as it
#   is, not at its filtered self.
