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
# # Lesson 1. A real cliff, seen
#
# *About 30 minutes. You know PyTorch, and you have read the abstract of the HDPO paper (arXiv:2603.23871).*
#
# Reinforcement learning with a verifiable reward works like this. A language model, the **policy** $\pi_\theta$, draws
# several answers to a problem $x$. Each answer is a **rollout** $y$. A program marks it right or wrong: the **reward**
# $R(x, y)$ is 1 or 0. Then a gradient step makes the right answers likelier. GRPO is a
# widely used method of this kind.
#
# But what happens on a problem that the model never solves? The paper calls it a **cliff**. In this lesson you meet
# one: you read the failures, watch the gradient vanish, show the model a hint, and see what it could learn from itself.
# Nothing is trained here; that comes in lesson 2.
#
# **How to use this lesson.** Where it says *Predict*, write your guess down before you read on. If you can run the
# notebook, clear all outputs first and run it cell by cell. If you read it on a web page, cover what is below.

# %%
# %matplotlib inline
import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import display

from hdpo.learning.cliffs import cliff_mask
from hdpo.learning.trainer import Trainer
from hdpo.model.forward import completion_logits, token_logp
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.render.style import PALETTE, use_style
from hdpo.study.study import load_study
from hdpo.tasks.chains import MAX_VALUE, apply

os.chdir(next(folder for folder in (Path("."), Path("..")) if (folder / "config").is_dir()))
study = load_study("config/small-true.yaml")
trainer = Trainer(study.run("hdpo-drifting-0.1", seed=0))  # loads the committed base model and the problems
model, task, tokenizer = trainer.policy, trainer.task, trainer.tokenizer
print(f"{sum(weights.numel() for weights in model.parameters()):,} weights, {len(tokenizer)} tokens")
print(f"{len(trainer.problems):,} training problems, {study.train.rollouts_per_prompt} rollouts of each")

# %% [markdown]
# The model is a transformer of the same design as Qwen2.5, small enough for a laptop. It was trained beforehand to
# write solutions of number puzzles, and to use a worked solution if one is shown. We call it the **base model**.
#
# ## The puzzle
#
# A puzzle gives some numbers and a target. Combine the numbers with + − × ÷ so that the target comes out, and use each
# number exactly once. We take the first training problem with five numbers. Nothing about it was picked.

# %%
cliff = next(problem for problem in trainer.problems if problem.difficulty == 5)
print(task.student_prompt(cliff))
print(f"results of steps: whole numbers from 1 to {MAX_VALUE}")

# %% [markdown]
# The first line is all that the model gets. Its answer is a chain of steps, `left sign right = result`, joined by ` ,
# `. A step may use a number of the puzzle or the result of an earlier step.
#
# **Solve it yourself first.** Write your chain between the quotes. The verifier says 1 or 0, to you as to the model.

# %%
my_answer = "7 * 5 = 35 , 35 + 5 = 40 , 40 - 10 = 30 , 30 + 7 = 37"
task.reward(cliff, my_answer)

# %% [markdown]
# ## All rollouts fail
#
# > **Predict.** The model knows the form of such puzzles. How many of its rollouts will be right?

# %%
rollouts = trainer.sample([cliff])  # y_1 … y_G ~ π_θ(· | x)
rewards = trainer.score([cliff], rollouts)  # R(x, y), [1, G]


def texts(completions):
    """Completions as text, without the end token."""
    return tokenizer.batch_decode([row[row != tokenizer.eos_token_id].tolist() for row in completions])


def first_fault(problem, answer):
    """Why an answer is wrong, in words."""
    *pool, target = map(int, problem.question.replace(" > ", " ").removesuffix(" ?").split())
    for step in answer.split(" , "):
        parts = step.split(" ")
        if len(parts) != 5 or parts[3] != "=":
            return f"“{step}” is no step"
        left, sign, right, _, result = parts
        for number in (int(left), int(right)):
            if number not in pool:
                return f"no {number} to use"
            pool.remove(number)
        if apply(int(left), sign, int(right)) != int(result):
            return f"{left} {sign} {right} is not {result}"
        pool.append(int(result))
    if len(pool) > 1:
        return "a number is left over"
    return "right" if pool == [target] else f"it ends at {pool[0]}"


for number, answer in enumerate(texts(rollouts.sequences.completions), 1):
    print(f"{number:2}  {answer:46}  {first_fault(cliff, answer)}")
print(f"\n{int(rewards.sum())} of {rewards.numel()} right")

# %% [markdown]
# Read a few of them. The form is fine: step after step, and many sums hold. But they are answers to *other* puzzles.
# Their numbers are not here. That is how this base model was made: in its training, every five-number puzzle without a
# hint was followed by the solution of another one (the key `pretrain.astray` of `config/small-true.yaml`). It writes
# fluently, and off the point.
#
# ## Is it just bad luck?
#
# Perhaps we drew too few. We draw many more. If a try succeeds with probability $p$, all $n$ fail with probability
# $(1 - p)^n$. So if all fail, a $p$ above about $3/n$ is hard to believe: it would give less than a 5 % chance of that.
#
# We can also ask the model itself. We feed it the reference solution, token by token, and multiply the probabilities
# that it gives to each next token.
#
# > **Predict.** How many tries would it take to write the reference solution once, on average? A thousand? A million?

# %%
more = trainer.sampler.sample(encode(tokenizer, [cliff.question]), 1024, 1.0, torch.Generator().manual_seed(1))
right = int(trainer.scorer.judge([cliff], more.sequences.completions).rewards.sum())
print(f"{right} of {len(more.sequences)} further rollouts are right")

reference = Sequences(encode(tokenizer, [cliff.question]), encode(tokenizer, [cliff.hint + " <eos>"]))
with torch.no_grad():  # `completion_logits`: the logits that predict each token of a completion, after its prompt
    logp = token_logp(completion_logits(model, reference), reference.tokens)
print(f"reference solution: {cliff.hint}")
print(f"its probability: {logp.sum().exp():.1e}, once in {1 / logp.sum().exp():,.0f} tries")

# %% [markdown]
# Other right chains exist, so the true $p$ is somewhat larger than the probability of this one. It makes no practical
# difference. This is a **true cliff**: patience does not help.
#
# ## The gradient is exactly zero
#
# GRPO asks of each rollout: how much better was it than the others of its group? That is its **advantage**
#
# $$A_i = r_i - \text{mean of the other rewards},$$
#
# divided by the spread of the other rewards, if it is not 0. The loss is $-\frac1N \sum_i A_i \sum_t \log
# \pi_\theta(y_{i,t} \mid x, y_{i,<t})$, over all $N$ tokens of all rollouts.
#
# > **Predict.** All rewards are 0. Is the gradient small, or noisy, or something else?
#
# The next cell computes the gradient for real: forward pass, loss, backward pass. Then it does so again with a lie, one
# rollout declared right, to show that the machinery works.


# %%
def policy_gradient(rewards):
    """The gradient of GRPO's loss in every weight, as one vector, for these rewards [1, G] of our rollouts."""
    advantages = trainer.method.advantages(rewards)[0]  # [G]
    sequences = rollouts.sequences
    logp = token_logp(completion_logits(model, sequences), sequences.tokens)  # of every token of every rollout
    loss = -(advantages.repeat_interleave(sequences.lengths) * logp).sum() / len(logp)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, model.parameters())])


lie = rewards.clone()
lie[0, 0] = 1
cases = {"as they are": rewards, "one declared right": lie}
gradients = {name: policy_gradient(given) for name, given in cases.items()}
pd.DataFrame(
    {
        "largest advantage": {name: float(trainer.method.advantages(given).max()) for name, given in cases.items()},
        "norm of the gradient": {name: float(gradient.norm()) for name, gradient in gradients.items()},
        "weights that would move": {name: int((gradient != 0).sum()) for name, gradient in gradients.items()},
    }
).rename_axis("rewards")

# %% [markdown]
# Not small, not noisy: exactly zero, in every weight. Each reward equals the mean of the others, so every advantage is
# 0, and 0 times anything is 0. GRPO learns nothing from this puzzle, however often it comes. This is the paper's
# starting point.
#
# ## The hint
#
# The data set knows a solution $y^*$. HDPO shows it to the *same network with the same weights*, as part of the prompt.
# The paper writes this **privileged** prompt $x \oplus y^*$. The model in this role is the **teacher**, and the model
# that sees the puzzle alone is the **student**. Only the input differs.

# %%
print("student:", task.student_prompt(cliff))
print("teacher:", task.privileged_prompt(cliff))

# %% [markdown]
# > **Predict.** The teacher sees a full solution and has only to write one down. How many of its tries will be right?
# > All of them?

# %%
privileged = encode(tokenizer, [task.privileged_prompt(cliff)])
tries = trainer.sampler.sample(privileged, 16, 1.0, torch.Generator().manual_seed(2)).sequences
for number, answer in enumerate(texts(tries.completions), 1):
    echo = ", word for word as in the hint" if task.is_echo(cliff, answer) else ""
    print(f"{number:2}  {answer:46}  {first_fault(cliff, answer)}{echo}")
kept = [
    row for row, answer in zip(tries.completions, texts(tries.completions), strict=True) if task.reward(cliff, answer)
]
print(f"\n{len(kept)} of {len(tries)} right")

# %% [markdown]
# The rescue. The tries that are wrong show why HDPO keeps only what is right, its filter $R = 1$: even with the
# solution in sight, the teacher garbles numbers. Look at the right ones. Some repeat the hint, others swap the two
# terms of a sum. All are **demonstrations**: right answers in the model's own hand to a problem that it cannot solve
# alone.
#
# ## What the student can learn, token by token
#
# Take one demonstration and ask both roles at every token: how likely is each next token, given what was written so
# far? The distance between the two answers is the **Jensen–Shannon divergence** (JSD). With $P$ the teacher's
# distribution, $Q$ the student's and $M = \frac12(P + Q)$,
#
# $$\mathrm{JSD} = \tfrac12 \sum_v P_v \log \frac{P_v}{M_v} + \tfrac12 \sum_v Q_v \log \frac{Q_v}{M_v},$$
#
# which is 0 where they agree and $\ln 2$ where they share no token.
#
# > **Predict.** Where will the two disagree most: on the numbers, the signs, or the results after `=`?

# %%
demonstration = next((row for row in kept if not task.is_echo(cliff, texts([row])[0])), kept[0])


def jsd(P, Q):
    """JSD of each token in nats, [T], from probabilities [T, V]."""
    M = (P + Q) / 2
    return (torch.xlogy(P, P / M) + torch.xlogy(Q, Q / M)).sum(-1) / 2


def probabilities(prompt):
    """Next-token distributions along the demonstration after this prompt, [T, V]."""
    return completion_logits(model, Sequences(encode(tokenizer, [prompt]), [demonstration])).softmax(-1)


with torch.no_grad():
    P, Q = probabilities(task.privileged_prompt(cliff)), probabilities(task.student_prompt(cliff))
distance = jsd(P, Q)
words = tokenizer.batch_decode([[token] for token in demonstration.tolist()], skip_special_tokens=False)
place = torch.arange(len(words))
written = P[place, demonstration], Q[place, demonstration]  # the probability of the token that was written

use_style()
figure, (left, right_axis) = plt.subplots(1, 2, figsize=(4.4, 5.2), sharey=True, width_ratios=(3, 2))
for role, share, colour in zip(("teacher", "student"), written, ("blue", "orange"), strict=True):
    left.plot(share, place, "o", ms=5, color=PALETTE[colour])
    left.annotate(role, (share[0], 0), (-8, 7), textcoords="offset points", color=PALETTE[colour])
left.set(
    xlabel="probability of this token",
    xticks=(0, 0.5, 1),
    yticks=place,
    yticklabels=words,
    ylim=(len(words) - 0.5, -1.4),
)
right_axis.barh(place, distance, color=PALETTE["grey"])
right_axis.axvline(math.log(2), color=PALETTE["black"], lw=1)
right_axis.annotate("ln 2 ", (math.log(2), -0.9), ha="right")
right_axis.set(xlabel="JSD, nats", xlim=(0, 0.75), xticks=(0, 0.5))
much = sorted(distance.tolist(), reverse=True)
carry = next(n for n in range(len(much)) if sum(much[:n]) > sum(much) / 2)
figure.suptitle(f"{carry} of {len(words)} tokens carry half of the difference", fontweight="bold")
display(figure)

# %% [markdown]
# Read it from the top, word by word. The dots show how likely each role finds the word that was written. Where one has
# to choose, a number or a sign, the student guesses and the teacher mostly knows: the bar is long. Where form leaves
# one way on, as at `=` and the comma, both know it and there is no bar. Results are mixed: both are sure of 25 and of
# 1, but the student doubts 35 and 36, and these have a bar. So the two disagree most on numbers, then on signs. They
# disagree least on results.
#
# Look at the student's dots again. No single word is hopeless; only all of them in a row are. And the signal is
# *dense*: the reward was one bit for a whole answer, whereas the JSD says at every word what to change.
#
# ## And its gradient is not zero

# %%
distillation = jsd(P, probabilities(task.student_prompt(cliff))).mean()  # the teacher's P carries no gradient
distillation = torch.autograd.grad(distillation, model.parameters())
norms = {"policy term (GRPO)": gradients["as they are"], "distillation term (HDPO)": distillation}
pd.Series(
    {name: float(torch.cat([part.flatten() for part in parts]).norm()) for name, parts in norms.items()}
).to_frame("norm of the gradient on this cliff")

# %% [markdown]
# That is the whole idea of HDPO: $L = L_\text{GRPO} + \lambda \, L_\text{JSD}$, with the second term on cliffs only.
#
# ## How common are cliffs?
#
# One training step takes a batch of problems of all sizes. The calls below are those of the kit's method file.

# %%
problems = trainer.draw()
mask = cliff_mask(trainer.score(problems, trainer.sample(problems)))
cliffs = [problem for problem, fails in zip(problems, mask, strict=True) if fails]
demonstrations = trainer.demonstrate(cliffs, trainer.method.privileged_rollouts)
print("numbers in each problem:", dict(sorted(Counter(problem.difficulty for problem in problems).items())))
print("of these, cliffs:       ", dict(sorted(Counter(problem.difficulty for problem in cliffs).items())))
print(f"privileged tries: {demonstrations.drawn}, kept: {len(demonstrations)}")

# %% [markdown]
# GRPO gets nothing from these cliffs, and HDPO gets the kept tries. A cliff without a kept try may get one when it
# comes again.
#
# ## Try it
#
# Your own puzzle, your own hint. The cell runs in a second. The hint below is wrong: it misses the target.
#
# > **Predict.** What will the teacher do with a wrong hint? Then mend the hint and run the cell again.

# %%
mine = replace(cliff, question="3 4 6 8 9 > 29 ?", hint="3 * 4 = 12 , 6 + 8 = 14 , 14 - 9 = 5 , 12 + 5 = 17")
prompts = {"student": task.student_prompt(mine), "teacher": task.privileged_prompt(mine)}
for role, prompt in prompts.items():
    mine_rolled = trainer.sampler.sample(encode(tokenizer, [prompt]), 4, 1.0, torch.Generator().manual_seed(3))
    for answer in texts(mine_rolled.sequences.completions):
        print(f"{role}  {answer:46}  {first_fault(mine, answer)}")

# %% [markdown]
# <details><summary>Solution</summary>
#
# The teacher copies the wrong hint, and the filter throws all of it away. The model trusts the hint and does not check
# it. A hint that works: `9 / 3 = 3 , 8 - 3 = 5 , 6 * 4 = 24 , 24 + 5 = 29`.
#
# </details>
#
# ## Exercises
#
# **1.** Someone suggests a reward of −1 for a wrong answer instead of 0, so that failures count. Does it open the
# cliff?
#
# <details><summary>Solution</summary>
#
# No. The advantage subtracts the mean of the others, so a constant drops out.
#
# ```python
# print("norm of the gradient:", float(policy_gradient(rewards - 1).norm()))
# ```
#
# </details>
#
# **2.** Then drop the mean: take $A_i = r_i - \frac12$. Now the gradient is not zero. What does it teach? Compare its
# direction with two others: one makes the reference solution likelier, one makes another puzzle's solution likelier.
#
# <details><summary>Solution</summary>
#
# It pushes down what was sampled, so all else rises. A cosine of 1 would mean: straight towards that solution.
#
# ```python
# def direction(sequences, weight=1.0):
#     logp = token_logp(completion_logits(model, sequences), sequences.tokens)
#     parts = torch.autograd.grad(weight * logp.mean(), model.parameters())
#     return torch.cat([part.flatten() for part in parts])
#
#
# push = direction(rollouts.sequences, weight=-0.5)  # uphill on Σ A log π, with every A = −½
# other = [problem for problem in trainer.problems if problem.difficulty == 5][1]
# for name, hint in {"the reference": cliff.hint, "another puzzle's solution": other.hint}.items():
#     solution = Sequences(encode(tokenizer, [cliff.question]), encode(tokenizer, [hint + " <eos>"]))
#     print(f"{name:26} cosine {torch.cosine_similarity(push, direction(solution), 0):+.2f}")
# ```
#
# So failures do teach something here. They say: not with those foreign numbers. They do not say which steps to take.
# GRPO's baseline discards even that.
#
# </details>
#
# **3.** The hint above is the whole solution. What if the teacher sees its last step only?
#
# <details><summary>Solution</summary>
#
# ```python
# answer_only = replace(cliff, hint=cliff.hint.split(" , ")[-1])
# prompt = encode(tokenizer, [task.privileged_prompt(answer_only)])
# found = trainer.sampler.sample(prompt, 256, 1.0, torch.Generator().manual_seed(4)).sequences.completions
# n_right = int(trainer.scorer.judge([cliff], found).rewards.sum())
# print(f"hint {answer_only.hint!r}: {n_right} of {len(found)} tries are right")
# ```
#
# With the last step alone, hardly a try is right. A teacher helps only if the hint lets it solve the problem. The paper
# does not say whether it shows the whole solution or only the answer.
#
# </details>
#
# **4.** Suppose a problem has $p = 1/1000$. How many rollouts must a group have to contain a right one half of the
# time?
#
# <details><summary>Solution</summary>
#
# Solve $(1 - p)^G = \frac12$.
#
# ```python
# print(f"G = {math.log(0.5) / math.log(1 - 1 / 1000):.0f}")
# ```
#
# Such a problem is an **unlucky cliff**: rare successes exist, and GRPO lives on them. Lesson 4 shows that HDPO does
# something quite different on the two kinds.
#
# </details>
#
# ## What to take along
#
# - On a cliff every advantage is 0 and so is the policy gradient: not small, but zero.
# - The same weights solve many of these problems once they see a solution. Student and teacher differ in their input.
# - The teacher's right tries give the student a target at every token, and a gradient.
#
# Lesson 2 follows that gradient until the student solves this puzzle alone.
