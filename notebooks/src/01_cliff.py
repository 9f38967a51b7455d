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
# # 1. The cliff: where GRPO learns nothing, and what that costs
#
# Reinforcement learning with a verifiable reward draws several answers to a problem, marks each right or wrong,
# and makes the right ones likelier. On a problem that the model practically never solves, all answers are
# wrong, and there is nothing to prefer. HDPO (arXiv:2603.23871) calls such a problem a *cliff*. This notebook
# looks at three questions: how often a cliff is met, what GRPO's gradient does there, and how much time a
# distillation term saves.
#
# | symbol | meaning |
# |---|---|
# | $x$ | a problem; here there is only one |
# | $y$ | a trajectory: one sampled answer, of $T$ tokens |
# | $\pi_\theta(y \mid x)$ | the policy, the model with weights $\theta$ |
# | $R(x, y)$ | the reward, 1 if $y$ is correct and 0 otherwise |
# | $p$ | $P(R = 1)$ under the policy, the chance that one trajectory is correct |
# | $G$ | rollouts: trajectories drawn per problem and step |
# | $A_i$ | advantage of rollout $i$: how much better it did than the others |
# | $y^*$ | the privileged hint that only the teacher sees |
# | $\lambda$ | weight of the distillation term |

# %%
# %matplotlib inline
import numpy as np
import pandas as pd

from hdpo.theory import cliff, escape, figures
from hdpo.theory.bandit import condition_on_success, example_bandit, success_probability
from hdpo.theory.divergences import log_softmax

pd.set_option("display.precision", 4)

# %% [markdown]
# ## How often is a prompt a cliff?
#
# The $G$ rollouts are independent, so all of them fail with probability $(1 - p)^G$. The number of rollouts
# sets the scale: a problem with $p$ well below $1/G$ is a cliff nearly always. The right panel shows the
# consequence. As long as every rollout fails the policy does not move, so the wait for the first non-zero
# update is geometric, with mean $1 / (1 - (1-p)^G)$ steps for GRPO. HDPO also draws privileged rollouts, and
# moves as soon as a rollout of either kind is correct.

# %%
figures.cliff_figure(cliff.wait_curve())

# %% [markdown]
# ## What GRPO's gradient does there
#
# GRPO compares each rollout with the others of its problem. With the leave-one-out baseline,
#
# $$A_i = \frac{r_i - b_i}{\mathrm{std}_i + 10^{-6}}, \qquad b_i = \text{mean of the other } G - 1 \text{ rewards},$$
#
# and $A_i = r_i - b_i$ where the others' standard deviation $\mathrm{std}_i$ is zero. The update is $\frac1G
# \sum_i A_i \nabla_\theta \log \pi_\theta(y_i \mid x)$. Below are the advantages for groups of 16 with a
# growing number of correct rollouts. With none (or all) correct, every advantage is zero: not small, zero.

# %%
group_size = 16
rows = []
for n_correct in (0, 1, 2, 4, 8, 15, 16):
    rewards = (np.arange(group_size) < n_correct).astype(float)
    advantages = cliff.leave_one_out_advantages(rewards[None])[0]
    correct, failed = advantages[rewards == 1], advantages[rewards == 0]
    rows.append(
        {
            "correct rollouts": n_correct,
            "A of a correct one": correct[0] if correct.size else np.nan,
            "A of a failed one": failed[0] if failed.size else np.nan,
        }
    )
pd.DataFrame(rows).set_index("correct rollouts")

# %% [markdown]
# A lone success gets a *smaller* advantage than one of a pair. It is the only one of its group, so the others'
# standard deviation is zero, and the fallback without division applies. That is a property of this baseline's
# definition, and it slows GRPO exactly where successes are rare.
#
# For a small policy the expected update can be computed by enumerating every possible group. The next cell
# splits it: the part from cliffs, and the whole.

# %%
logp = np.log([0.1, 0.3, 0.6])  # three trajectories, the first one correct
parts = cliff.expected_update(logp, np.array([1.0, 0.0, 0.0]), group_size=6)
pd.DataFrame(
    {"from cliffs": parts["on cliffs"], "whole": parts["whole"]}, index=["correct", "wrong", "wrong'"]
).rename_axis("logit of")

# %% [markdown]
# ## What the distillation term does there
#
# On a cliff HDPO shows the same network the problem together with a hint, $\pi_\theta(\cdot \mid x, y^*)$, and
# pulls the plain policy towards this teacher by the Jensen–Shannon divergence (JSD). The toy below is a softmax
# over 12 trajectories, of which 4 are correct. Teacher and student share all weights and differ in their input.
# The cell reports the largest entry of each update, and the success probability after one step of size 1. The
# last row pulls to the teacher conditioned on success, the target of Proposition 2 (notebook 3).

# %%
toy = example_bandit()
student, teacher = toy.student_logp(), toy.teacher_logp([2.0, 0.0])
failed = np.flatnonzero(toy.reward == 0)
updates = {
    "GRPO, all 16 rollouts wrong": cliff.group_update(student, toy.reward, np.resize(failed, group_size)),
    "JSD to the teacher": cliff.distillation_update(student, teacher),
    "JSD to the filtered teacher": cliff.distillation_update(student, condition_on_success(teacher, toy.reward)),
}
pd.DataFrame(
    {
        "largest entry": {name: np.abs(update).max() for name, update in updates.items()},
        "p before": success_probability(student, toy.reward),
        "p after": {name: success_probability(log_softmax(student + u), toy.reward) for name, u in updates.items()},
    }
)

# %% [markdown]
# ## A first signal is not yet an escape
#
# The paper's claim is that distillation gives a gradient where GRPO has none, and that is so. How *large* the
# gradient is decides how long the climb takes. For a token to which the student gives probability $s$, the
# gradient of the JSD in the logits falls like $s \log(1/s)$ as $s \to 0$. It matters, therefore, whether a
# cliff comes from one unlikely token or from many moderately likely ones, since a trajectory of $T$ tokens with
# probability $s$ each has $p = s^T$.
#
# The figure shows the steps from a starting $p$ up to $1/2$, for chains of $T$ tokens that must all be right.
# Every chain has the same teacher success, one in two. Lines are the mean-field formula, points are single
# simulated runs.

# %%
figures.climb_figure(escape.climb_curve())

# %% [markdown]
# How the time grows as $p$ shrinks, as the exponent $a$ in time $\sim p^{-a}$, from the same formulas. An
# exponent of 1 means ten times the wait for a tenth of the success probability; 0 means that the starting point
# hardly matters.

# %%
table = pd.DataFrame(escape.climb_rows(repetitions=5))
exponents = table[table["quantity"].str.startswith("exponent")]
exponents[["statement", "expected", "measured", "verdict"]].set_index("statement")

# %% [markdown]
# ## What to take along
#
# - A cliff gives GRPO an update of exactly zero; the paper's statement holds without approximation.
# - Distillation gives a non-zero update there, and the wait for it depends on how often the *teacher* succeeds.
# - The climb is fast when failure is spread over many tokens, none of them hopeless. When a single token carries
#   all of the improbability, the JSD's gradient vanishes along with the probability it should raise.
#
# These are statements about plain gradient steps on a tabular policy with one problem. An adaptive optimiser
# rescales small gradients, and a network shares what it learns between problems, so the numbers here do not
# carry over to a language model; the mechanism does.
