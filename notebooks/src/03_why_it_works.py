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
# *About an hour, in two parts: the toy, then the two propositions. Lessons 1 and 2 showed that HDPO opens a cliff. Here
# you see why, in cases small enough to compute.*
#
# The paper gives two propositions. One says that a teacher with the student's own weights is a *close* teacher. The
# other says that its filtered answers are the *right* target. You check both, and find the place where each says less
# than it seems to.
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
# ## A toy: an answer of T tokens
#
# Shrink the model to its bones. An answer has $T$ tokens, and all of them must be right. The student gets each right
# with probability $s$, so its chance of a right answer is $p = s^T$: the *depth* of the cliff. The teacher, who sees
# the hint, gets an answer right half of the time. A group of $G$ rollouts is a cliff with probability $(1 - p)^G$.
#
# Each token has one logit, and training takes plain gradient steps. GRPO's term is that of lesson 2. The JSD between
# the teacher's probability $q$ of the right token and the student's $s$ pulls the logit with $\frac12 s (1 - s)
# [\mathrm{logit}\, m - \mathrm{logit}\, s]$, where $m = \frac12 (s + q)$.
#
# > **Predict.** An answer of 24 tokens, $p = 1/1000$, groups of 16. In how many groups does GRPO see its first success?
# > By what factor is HDPO faster on the way to $p = 1/2$?


# %%
def logit(x):
    return np.log(x / (1 - x))


def pull(s, q):
    """How strongly the JSD to a teacher with q pulls the logit of a token with probability s."""
    return 0.5 * s * (1 - s) * (logit((s + q) / 2) - logit(s))


def climb(p, T, λ, G=16, tries=4, teacher=0.5, steps=1500, rate=2.0, seeds=8):
    """The student's p at every step, [steps, seeds]. GRPO where λ is 0, else HDPO."""
    rng, path = np.random.default_rng(0), []
    logits, q = np.full((seeds, T), logit(p ** (1 / T))), teacher ** (1 / T)
    for _ in range(steps):
        s = 1 / (1 + np.exp(-logits))  # [seeds, T]
        path.append(s.prod(1))
        tokens = rng.random((seeds, G, T)) < s[:, None]  # which tokens of which rollout are right
        r = tokens.all(2).astype(float)  # rewards, [seeds, G]
        advantages = r - (r.sum(1, keepdims=True) - r) / (G - 1)  # all 0 on a cliff
        policy = (advantages[:, :, None] * (tokens - s[:, None])).mean(1)
        shown = (r.sum(1) == 0) & (rng.random((seeds, tries)) < teacher).any(1)  # a cliff, and a demonstration of it
        logits = logits + rate * (policy + λ * shown[:, None] * pull(s, q))
    return np.array(path)


def half(path):
    """The step at which p passes 1/2, median over seeds; infinite if that takes more steps than there are."""
    return np.median(np.where((path > 0.5).any(0), (path > 0.5).argmax(0), np.inf))


def draw_climb(p=0.001, T=24, λ=1.0, G=16):
    """Both methods from the same depth, a line per seed."""
    figure, axis = plt.subplots(figsize=(4.4, 2.6))
    said = []
    for place, (name, weight, colour) in enumerate((("GRPO", 0.0, ORANGE), ("HDPO", λ, BLUE))):
        path = climb(p, T, weight, G)
        said.append(f"{name} {half(path):.0f}")
        axis.semilogx(1 + np.arange(len(path)), path, color=colour, lw=0.8)
        axis.annotate(name, (0.03, 0.83 - 0.15 * place), xycoords="axes fraction", color=colour)
    axis.set(xlabel="step", ylabel="student's $p$", ylim=(0, 1))
    axis.set_title(f"Half of the way after: {', '.join(said)} steps", fontsize="medium", fontweight="bold")
    display(figure)
    plt.close(figure)


draw_climb()

# %% [markdown]
# GRPO sees a success in about one group of 63, and then needs more of them to climb. HDPO has a signal from the first
# step on. Now change the depth, and the number of tokens over which the difficulty is spread.
#
# > **Predict.** At $p = 10^{-6}$, how much longer than at $1/1000$ does HDPO take with 24 tokens? And with a single
# > one?

# %%
depths = 10.0 ** -np.array([1, 2, 3, 4, 6, 8, 10])
figure, axis = plt.subplots(figsize=(4.4, 3.2))
cases = {("GRPO", 1): PALETTE["orange"], ("GRPO", 24): PALETTE["vermilion"]}
cases |= {("HDPO", 1): PALETTE["sky"], ("HDPO", 24): PALETTE["blue"]}
reached = {}
for (name, T), colour in cases.items():
    steps = [half(climb(p, T, float(name == "HDPO"))) for p in depths]
    found = {depth: step for depth, step in zip(depths, steps, strict=True) if np.isfinite(step)}
    reached[name, T] = found
    axis.loglog(list(found), list(found.values()), "o-", ms=4, color=colour)
    last = list(found)[-1]
    where = {"textcoords": "offset points", "color": colour, "fontsize": "small"}
    place = (6, -6) if (name, T) == ("GRPO", 1) else (4, 5)
    axis.annotate(f"{name}, {T} token{'s' * (T > 1)}", (last, found[last]), place, **where)
axis.set(xlabel="depth p at the start", ylabel="steps to p = 1/2", xlim=(0.3, 1e-13), ylim=(5, 2500))
spread = [step for p, step in reached["HDPO", 24].items() if p <= 0.01]
axis.set_title(
    f"Depth hardly matters to HDPO with 24 tokens:\n{min(spread):.0f} to {max(spread):.0f} steps", fontweight="bold"
)
display(figure)

# %% [markdown]
# A line ends where its method does not get there in 1,500 steps. GRPO's wait grows faster and faster with depth. Its
# first success alone takes about $1/(pG)$ steps. HDPO with many tokens hardly feels the depth. HDPO with a *single*
# token does, and soon gets stuck too. Why? Move the sliders first, if you can (`inf`: not in these steps).

# %%
_ = interact(
    draw_climb,
    p=FloatLogSlider(0.001, min=-10, max=-1, description="depth p", continuous_update=False),
    T=IntSlider(24, min=1, max=64, description="tokens T", continuous_update=False),
    λ=FloatLogSlider(1.0, min=-2, max=2, description="λ", continuous_update=False),
    G=IntSlider(16, min=4, max=64, description="G", continuous_update=False),
)
# %% [markdown]
# ## A signal is not yet a way out
#
# Look at the formula of the pull: it falls nearly in proportion to $s$, the probability of the *token*. GRPO's luck
# depends on $p$, that of the whole answer. The puzzle of lesson 1 has 24 tokens and a $p$ of about $10^{-10}$. Compare
# it with an answer of a single token, with the same $p$.
#
# > **Predict.** By what factor do the two pulls differ?

# %%
p = 1e-10
tokens = {"one token": (p, 0.5), "each of 24 tokens": (p ** (1 / 24), 0.5 ** (1 / 24))}  # s of the student, q
s = np.logspace(-11, -0.2, 200)
figure, axis = plt.subplots(figsize=(4.4, 2.9))
axis.loglog(s, pull(s, 0.9), color=GREY)
for (name, (share, q)), colour, side in zip(tokens.items(), (ORANGE, BLUE), (8, -100), strict=True):
    axis.plot(share, pull(share, q), "o", color=colour)
    axis.annotate(name, (share, pull(share, q)), (side, -4), textcoords="offset points", color=colour)
ratio = np.divide(*(pull(*tokens[name]) for name in ("each of 24 tokens", "one token")))
axis.set(xlabel="student's probability s of the token", ylabel="pull of the JSD")
axis.set_title(
    f"The same p = {p:.0e}: spread over 24 tokens,\nthe pull is {ratio / 1e6:.0f} million times as strong",
    fontsize="medium",
)
axis.title.set_fontweight("bold")
display(figure)

# %% [markdown]
# (The line is for a teacher with $q$ = 0.9, the dots for $q$ = 0.5 and 0.97.) Distillation opens a cliff that is a long
# walk of moderately unlikely words. Lesson 1 was one: no single word was hopeless. A cliff that hangs on a single word
# gets hardly any pull, if the student never says that word. An optimiser such as AdamW enlarges small gradients that
# stand alone, but not beside larger ones of the same batch. The paper does not make this distinction.
#
# ## Proposition 1: the teacher is near
#
# How far is the student from its teacher? The **Kullback–Leibler divergence** $\mathrm{KL}(P \Vert Q) = \sum P \log
# (P/Q)$ is 0 if they are equal. The paper's Lemma 1 bounds it by the difference $\delta$ of the logits:
#
# $$\mathrm{KL}\big(\mathrm{softmax}(z) \,\Vert\, \mathrm{softmax}(z + \delta)\big) \le \tfrac12 \max_k |\delta_k|^2 .$$
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
display(figure)

# %% [markdown]
# Proposition 1 uses the lemma for two teachers, both with the hint: the student's own weights $\theta$, and another
# model $\varphi$. Let $\delta$ be the change that the hint makes to the student's logits, and $\delta'$ the difference
# between the two hinted teachers. The own teacher's bound is $\frac12 \max|\delta|^2$, the other's $\frac12
# (\max|\delta| + \max|\delta'|)^2$. The second is *larger*. The paper concludes that the same-model teacher has the
# "strictly tighter gap".
#
# > **Predict.** Two boats float below two bridges. One bridge is higher. Which boat is higher?
#
# Here is a pair to hold in the hand. Let the other model say, with the hint, exactly what the student says without.

# %%
student, own_teacher = np.array([1.0, 0.0, -1.0]), np.array([2.5, 0.0, -1.0])  # logits: plain, and with the hint
other_teacher = student.copy()  # φ with the hint
own_step, other_step = (np.abs(own_teacher - logits).max() for logits in (student, other_teacher))  # max|δ|, max|δ'|
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
# The bound holds everywhere, is loose, and does not say who is nearer. Nor is a small gap an aim by itself: a teacher
# equal to the student teaches nothing.
#
# ## Proposition 2: what should the student become?
#
# Ideal RL would look for the policy with the best reward that stays near a reference policy $\pi_\mathrm{ref}$:
# maximise $\mathbb{E}_\pi[R] - \beta\, \mathrm{KL}(\pi \Vert \pi_\mathrm{ref})$. The paper's Proposition 2 gives the
# answer in closed form,
#
# $$\pi^*_\beta(y) \propto \pi_\mathrm{ref}(y)\, e^{R(y)/\beta} .$$
#
# Take one problem with twelve possible answers, a **bandit** with twelve arms; four are correct. The student's
# distribution is $\mathrm{softmax}(W c)$, where $c$ describes the prompt. A hint $h$ changes the input alone: the
# teacher is $\mathrm{softmax}(W (c + B h))$ with the same weights. We let Adam, an ordinary optimiser, search for the
# optimum without telling it the formula, and compare.

# %%
toy = make_bandit(n_arms=12, n_correct=4, success=0.03, rng=np.random.default_rng(0))
ref, reward = torch.tensor(toy.student_logp()), torch.tensor(toy.reward)


def optimum(β):
    """π*_β by the formula."""
    return (ref + reward / β).softmax(0)


rows = {}
for β in (1.0, 0.5, 0.25):
    logits = ref.clone().requires_grad_()
    adam = torch.optim.Adam([logits], lr=0.02)
    for _ in range(4000):
        π = logits.softmax(0)
        loss = β * (π * (π.log() - ref)).sum() - (π * reward).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    found = logits.detach().softmax(0)
    gap = float((found - optimum(β)).abs().max())
    rows[β] = {"success": float(found @ reward), "largest difference, 12 decimals": round(gap, 12)}
pd.DataFrame.from_dict(rows, orient="index").rename_axis("β")

# %% [markdown]
# They agree to twelve decimals. Now let $\beta$ go to 0, so that reward counts ever more.
#
# > **Predict.** Where does the probability go? What happens to the *odds* between two correct arms?


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
    axis.set(ylabel="probability", ylim=(0, 0.8), xticks=[])
    axis.set_title(f"β = {β:.2g}: success {float(π @ reward):.2f}, odds of the first two {odds:.2f}", fontsize="medium")
    if alone:
        display(figure)
        plt.close(figure)


figure, axes = plt.subplots(3, 1, figsize=(4.4, 5.4))
for β, axis in zip((1.0, 0.25, 0.05), axes, strict=True):
    draw_optimum(β, axis)
axes[0].annotate("correct arms", (1.5, 0.6), color=BLUE, ha="center")
axes[0].annotate("incorrect arms; dashes: reference", (7.5, 0.6), color=GREY, ha="center")
figure.suptitle("Mass moves to the correct arms; their odds stay", fontweight="bold", fontsize="medium")
display(figure)

# %%
_ = interact(draw_optimum, β=FloatLogSlider(0.2, min=-1.5, max=1, description="β"), axis=fixed(None))
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
# > **Predict.** Which of the two hints leaves the odds among correct arms as they were?

# %%
hints = {"the answer: lifts all correct arms": [3.0, 0.0], "a worked solution: lifts one": [0.0, 3.0]}
target = np.exp(toy.target_logp())
rows = {"target: the student's own right answers": target[:4]}
for name, hint in hints.items():
    hinted = np.exp(toy.teacher_logp(hint)) * toy.reward
    rows[name] = (hinted / hinted.sum())[:4]
pd.DataFrame.from_dict(rows, orient="index", columns=[f"correct arm {i}" for i in range(4)])

# %% [markdown]
# A hint that names the answer leaves the target exactly as Proposition 2 wants it. A worked solution bends it towards
# the solution shown. The student then learns *that* way, not its own.
#
# **Second departure: the loss compares tokens.** The filter decides *where* student and teacher are compared: along
# right answers. But the target is the teacher's next-token distribution, and the teacher knows nothing of the filter.
# Follow the loss to its minimum with answers of two tokens, by search:
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
# A weak teacher on a deep cliff. How bad may the teacher be before HDPO loses its lead? Runs in seconds.

# %%
depth, T, teacher = 0.001, 24, 0.01
kept = 1 - (1 - teacher) ** 4
print(f"a demonstration in {kept:.0%} of steps on a cliff; GRPO sees a success in {1 - (1 - depth) ** 16:.1%} of steps")
for name, λ in {"GRPO": 0.0, "HDPO": 1.0}.items():
    print(f"{name}: p = 1/2 after {half(climb(depth, T, λ, teacher=teacher)):.0f} steps")

# %% [markdown]
# <details><summary>Solution</summary>
#
# Compare the two percentages that the cell prints. HDPO leads clearly while demonstrations are more frequent than
# GRPO's own successes. With ever fewer of them it becomes GRPO.
#
# </details>
#
# ## Exercises
#
# **1.** Add the same constant to all entries of $\delta$. What happens to the KL, and to the bound? Find a sharper
# bound.
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
# Correct arms gain the factor $e^{1/\beta}$, so $p\, e^{1/\beta} = 1 - p$ and $\beta = 1 / \log((1 - p) / p)$.
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
# **3.** Can a larger $\lambda$ open the cliff of a single token? Try $\lambda$ = 1, 10, 100 at $p$ = 1/1000 and at
# $10^{-6}$.
#
# <details><summary>Solution</summary>
#
# ```python
# for depth in (1e-3, 1e-6):
#     found = [f"λ = {λ}: {half(climb(depth, 1, λ, seeds=4)):.0f}" for λ in (1, 10, 100)]
#     print(f"p = {depth:g}, steps to 1/2: " + "; ".join(found))
# ```
#
# (`inf`: not in 1,500 steps.) λ multiplies the pull, and depth divides it. A factor that opens a cliff of one depth is
# too small for the next.
#
# </details>
#
# ## What to take along
#
# - GRPO waits about $1/(pG)$ steps for its first signal. HDPO has one as soon as its *teacher* succeeds.
# - The pull of the JSD is strong where failure is spread over many words, and nearly nil where it hangs on one.
# - Proposition 1 compares bounds, not gaps. Another model can be nearer.
# - Proposition 2 names the right target. A worked solution bends it, and the token-level loss aims at the teacher as it
#   is, not at its filtered self.
