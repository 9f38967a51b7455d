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
# # 3. Proposition 2 and the bandit: what should be distilled, and what is
#
# Proposition 2 of the paper names the ideal target of distillation on a cliff: the reference policy conditioned
# on being correct. On a problem small enough to enumerate one can check every step of the argument, and follow
# it to the two places where practice departs from it: the samples come from a *hinted* policy, and the loss
# compares *tokens*.
#
# | symbol | meaning |
# |---|---|
# | $y$ | a trajectory; here one arm of a bandit |
# | $R(y)$ | reward, 1 if correct and 0 if not |
# | $\pi_\mathrm{ref}$, $p$ | the reference policy, and its success probability $P_\mathrm{ref}(R = 1)$ |
# | $\beta > 0$ | weight of the penalty for moving away from $\pi_\mathrm{ref}$ |
# | $\pi^*_\beta$ | the policy that maximises $\mathbb{E}_\pi[R] - \beta\,\mathrm{KL}(\pi \Vert \pi_\mathrm{ref})$ |
# | $\mathrm{TV}$ | total variation, half the summed absolute difference of two distributions |
# | $x$, $y^*$ | the problem, and the hint that only the teacher sees |
# | $\pi_\theta(\cdot \mid x)$, $\pi_\theta(\cdot \mid x, y^*)$ | student and teacher: one network, two inputs |
# | $p_T$ | the teacher's success probability |

# %%
# %matplotlib inline
import numpy as np
import pandas as pd

from hdpo.theory import distillation, figures, optimal_policy, proxy_gap, rejection
from hdpo.theory.bandit import condition_on_success, example_bandit, success_probability

pd.set_option("display.precision", 4, "display.max_colwidth", None)

# %% [markdown]
# ## The bandit
#
# Twelve arms, of which the first four are correct. The student is $\mathrm{softmax}(W c)$ with context features
# $c$; the teacher is $\mathrm{softmax}(W(c + B h))$, the same $W$ on features to which a hint $h$ has been
# added. Two kinds of hint are distinguished: an *answer*, which lifts all correct arms alike, and a *worked
# solution*, which lifts one of them.

# %%
toy = example_bandit()
student, reward = toy.student_logp(), toy.reward
pd.DataFrame(
    {
        "correct": reward.astype(int),
        "student": np.exp(student),
        "target, student given R = 1": np.exp(condition_on_success(student, reward)),
        "teacher, answer hint": np.exp(toy.teacher_logp([3.0, 0.0])),
        "teacher, solution hint": np.exp(toy.teacher_logp([0.0, 3.0])),
    }
).rename_axis("arm")

# %% [markdown]
# ## The optimum, and its limit
#
# For any $\beta > 0$ the optimum is $\pi^*_\beta(y) \propto \pi_\mathrm{ref}(y)\, e^{R(y)/\beta}$. The table
# compares this closed form with searches that do not know it: gradient ascent, an interior-point solver and the
# Lagrange dual.

# %%
shown = ["quantity", "expected", "measured", "error", "tolerance", "verdict"]
pd.DataFrame(optimal_policy.optimum_rows())[shown].set_index("quantity")

# %% [markdown]
# As $\beta \to 0^+$ the optimum tends to $\pi_\mathrm{ref}(\cdot \mid R = 1)$. How fast has a closed form too,
#
# $$\mathrm{TV}\big(\pi^*_\beta, \pi_\mathrm{ref}(\cdot \mid R = 1)\big) = \frac{1 - p}{(1 - p) + p\,e^{1/\beta}},$$
#
# that is, exponentially in $1/\beta$, after a delay of about $\log(1/p)$ on hard problems.

# %%
figures.limit_figure(optimal_policy.limit_curve())

# %% [markdown]
# At every $\beta$ the optimum keeps the *odds* among correct arms as they were under $\pi_\mathrm{ref}$: it
# only moves mass from wrong arms to correct ones. Keep this in mind for what follows.
#
# ## Rejection sampling reaches the target
#
# Sampling from $\pi_\mathrm{ref}$ and keeping what is correct gives exact draws from the target. The error of
# the empirical distribution then falls as $n^{-1/2}$, and a goodness-of-fit test finds nothing: over many
# repetitions its p-values are uniform. Each accepted draw costs $1/p$ proposals, and this is why the method is
# of no use on a cliff.

# %%
figures.rejection_figure(*rejection.rejection_curves())

# %%
pd.DataFrame(rejection.rejection_rows())[["statement", *shown]].set_index("statement")

# %% [markdown]
# ## First departure: the samples are privileged
#
# On cliffs the paper samples from $\pi_\theta(\cdot \mid x, y^*)$ instead, and keeps what is correct. This
# proxy is the target multiplied by a tilt,
#
# $$\pi_\theta(y \mid x, y^*, R{=}1) \;\propto\; \pi_\theta(y \mid x, R{=}1)\, e^{\mathrm{PMI}(y;\, y^* \mid x)}, \qquad
# \mathrm{PMI}(y; y^* \mid x) = \log \frac{\pi_\theta(y \mid x, y^*)}{\pi_\theta(y \mid x)},$$
#
# with PMI the pointwise mutual information between trajectory and hint (arXiv:2606.26091). It is harmless if it
# is the same for all correct arms. What the hint leaks, $\mathrm{KL}(\pi_\theta(\cdot \mid x, y^*) \Vert
# \pi_\theta(\cdot \mid x))$, splits exactly into what it says about *whether* an arm is correct and about
# *which* arm it is. Only the part about which correct one counts.

# %%
figures.proxy_figure(proxy_gap.proxy_curve())

# %% [markdown]
# A hint that names the answer and nothing else leaves the proxy exact at any strength. The teacher is then
# itself the optimum $\pi^*_\beta$, with $1/\beta$ as the strength of the hint. A worked solution moves the odds
# among correct arms towards the solution shown, which ideal RL does not do, and raises the success probability
# less for the same leak. The next cell takes hints of one bit.

# %%
rows = {}
for name, share in (("answer", 0.0), ("half and half", 0.5), ("worked solution", 1.0)):
    teacher = toy.teacher_logp(proxy_gap.hint_with_information(toy, proxy_gap.NATS_PER_BIT, share))
    split = proxy_gap.leaked_information(student, teacher, reward)
    rows[name] = {
        "bits on whether correct": split["correctness"] / proxy_gap.NATS_PER_BIT,
        "bits on which correct": split["which right"] / proxy_gap.NATS_PER_BIT,
        "TV(proxy, target)": split["gap_tv"],
        "p_T": split["teacher_success"],
        "shift of log odds, arm 0 : arm 1": np.diff((student - teacher)[:2])[0],
    }
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# ## Distilling the target
#
# A student that can express the target recovers it under forward KL or the JSD. Reverse KL to a filtered
# teacher is infinite for every softmax student, as the student cannot reach probability zero on wrong arms; it
# needs a target such as $\pi^*_\beta$. A student that *cannot* express the target has to compromise, and the
# divergence decides how. Below, students that can only form one bell over arms on a line, and a filtered
# teacher with two modes.

# %%
figures.students_figure(distillation.limited_students())

# %% [markdown]
# Forward KL keeps the teacher's mean and width and puts most of its mass on wrong arms between and around the
# modes. The JSD, the paper's choice, behaves like reverse KL here and settles on one mode, giving up the other.
#
# ## Second departure: the loss compares tokens
#
# Proposition 2 conditions whole trajectories on $R = 1$. The paper's loss compares next-token distributions
# along such trajectories, and the teacher's next-token distribution in it is not conditioned on success. The
# smallest case has two tokens. The cell finds by search the student that minimises either loss, given unlimited
# data and a fixed teacher.

# %%
first, second = distillation.random_teacher(4, np.random.default_rng(2))
is_correct = np.isin(np.arange(16), [1, 6, 7]).astype(float)  # of the 16 two-token trajectories
by_token = distillation.sequence_logp(*distillation.distil_token_level(first, second, is_correct))
by_trajectory = distillation.distil_sequence_level(first, second, is_correct)
pd.Series(
    {
        "teacher": success_probability(distillation.sequence_logp(first, second), is_correct),
        "student of the token-level JSD on filtered trajectories": success_probability(by_token, is_correct),
        "student of filtered trajectories (forward KL)": success_probability(by_trajectory, is_correct),
    },
    name="success probability",
).to_frame()

# %% [markdown]
# Followed to its minimum, the token-level loss makes the student as good as the *unfiltered* teacher, and no
# better. The filter selects the prefixes on which they are compared, not what they are compared to. Imitating
# the filtered trajectories would go on to the target. In training neither runs to its minimum: the term acts
# only while the problem is a cliff, and is meant to bring $p$ to where GRPO sees successes.
#
# ## The verdicts
#
# All statements of this notebook that have not been tabulated above.

# %%
remaining = [*optimal_policy.limit_rows(), *distillation.distillation_rows(), *proxy_gap.proxy_rows()]
pd.DataFrame(remaining)[["statement", *shown]].set_index("statement")

# %% [markdown]
# - Proposition 2 holds, at every $\beta$ and in the limit.
# - The privileged proxy equals its target if the hint tells only *whether* a trajectory is correct. A worked solution
#   also tells *which*, and the odds among correct trajectories move.
# - A distilled student reaches the target if it can express it and if the loss is on trajectories. The
#   token-level loss leads to the unfiltered teacher.
