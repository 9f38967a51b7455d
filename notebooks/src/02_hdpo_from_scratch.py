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
# # Lesson 2. HDPO from scratch
#
# *About 30 minutes. You have seen the cliff of lesson 1.*
#
# Here is HDPO in some 40 lines of PyTorch, with nothing but a model, a tokenizer and a verifier. Cover the body of each
# function and try to write it from its docstring. Then you train on the cliff of lesson 1 until the student solves it
# *without* the hint. At the end you read the kit's own version, and check that both compute the same gradient.
#
# As before: where it says *Predict*, write your guess down first.

# %%
# %matplotlib inline
import inspect
import os
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown, display

from hdpo.learning.trainer import Trainer
from hdpo.methods.hdpo import HDPO
from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.render.style import PALETTE, use_style
from hdpo.study.study import load_study

os.chdir(next(folder for folder in (Path("."), Path("..")) if (folder / "config").is_dir()))
study = load_study("config/small-true.yaml")
task, tokenizer = study.task.load(study), load_tokenizer(study.base_path)
cliff = next(problem for problem in task.problems("train") if problem.difficulty == 5)
print("student:", task.student_prompt(cliff))
print("teacher:", task.privileged_prompt(cliff))

# %% [markdown]
# ## Three tools
#
# The model maps token ids `[N, L]` to hidden states, and `model.logits` maps those to next-token logits. We need to
# turn text into ids, to draw answers, and to judge them. Drawing is a loop: ask for the next token's distribution, draw
# one token, feed it back. The cache keeps what the model has read, so that each round feeds one token only.

# %%
END = tokenizer.eos_token_id


def ids(text):
    return torch.tensor(tokenizer([text])["input_ids"][0])


@torch.no_grad()
def sample(model, prompt, count):
    """`count` answers to a prompt of token ids, a tensor of ids each, with the end token."""
    cache = model.new_cache(None)
    hidden, drawn = model(prompt.repeat(count, 1), cache=cache), []
    for position in range(len(prompt), len(prompt) + study.train.max_response_tokens):
        drawn.append(torch.multinomial(model.logits(hidden[:, -1]).softmax(-1), 1))
        hidden = model(drawn[-1], positions=torch.full((count, 1), position), cache=cache)
    return [row[: int((row == END).cumsum(0).eq(0).sum()) + 1] for row in torch.cat(drawn, 1)]  # up to the end token


def reward(problem, answer):
    """R(x, y): 1.0 or 0.0."""
    return task.reward(problem, tokenizer.batch_decode([answer[answer != END].tolist()])[0])


# %% [markdown]
# ## The two terms
#
# The **policy term** is GRPO's. Each rollout gets its advantage: the reward less the mean of the other rewards. The
# loss lowers $-A_i \log \pi_\theta$ of every token of rollout $i$.
#
# The **distillation term** compares two next-token distributions along the same answer: the teacher's, after the prompt
# with the hint, and the student's, after the prompt without. Two details matter.
#
# - The logits at one position predict the *next* token. So the answer's tokens are predicted from the last token of the
#   prompt on, up to the last but one of the answer. An error of one here trains nonsense without any message.
# - The teacher gets no gradient. It is a target, although it is the same network.


# %%
def logits(model, prompt, answer):
    """Logits that predict each token of the answer, [T, V]."""
    hidden = model(torch.cat([prompt, answer[:-1]])[None])[0]
    return model.logits(hidden[len(prompt) - 1 :])


def policy_loss(model, prompt, answers, rewards):
    """GRPO's loss, to be divided by the number of tokens. Answers with advantage 0 add exactly nothing."""
    advantages = rewards - (rewards.sum() - rewards) / (len(rewards) - 1)  # less the mean of the others
    loss = torch.tensor(0.0)
    for answer, advantage in zip(answers, advantages, strict=True):
        if advantage != 0:
            logp = logits(model, prompt, answer).log_softmax(-1).gather(-1, answer[:, None])
            loss = loss - advantage * logp.sum()
    return loss


def jsd_loss(model, student_prompt, teacher_prompt, answers):
    """Σ over tokens of JSD(teacher ‖ student), to be divided by the number of tokens."""
    loss = torch.tensor(0.0)
    for answer in answers:
        with torch.no_grad():
            P = logits(model, teacher_prompt, answer).softmax(-1)
        Q = logits(model, student_prompt, answer).softmax(-1)
        M = (P + Q) / 2
        loss = loss + (torch.xlogy(P, P / M) + torch.xlogy(Q, Q / M)).sum() / 2
    return loss


# %% [markdown]
# ## One step of HDPO
#
# The paper's Algorithm 1: draw, judge, and on a cliff ask the teacher and keep what is right. This is the whole method.


# %%
def hdpo_step(model, optimizer, problem, weight, group=16, tries=4, keep_all=False):
    """One training step on one problem; returns how many of the student's own rollouts were right."""
    student, teacher = ids(task.student_prompt(problem)), ids(task.privileged_prompt(problem))
    rollouts = sample(model, student, group)
    rewards = torch.tensor([reward(problem, answer) for answer in rollouts])
    loss = policy_loss(model, student, rollouts, rewards) / sum(map(len, rollouts))
    if weight and rewards.sum() == 0:  # a cliff
        demonstrations = [y for y in sample(model, teacher, tries) if keep_all or reward(problem, y) == 1]
        if demonstrations:
            n_tokens = sum(map(len, demonstrations))
            loss = loss + weight * jsd_loss(model, student, teacher, demonstrations) / n_tokens
    if loss.requires_grad:  # some term had something to say
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return int(rewards.sum())


def lines_of_code(*parts):
    lines = [line.strip() for part in parts for line in inspect.getsource(part).splitlines()]
    return sum(bool(line) and not line.startswith(("#", '"""')) for line in lines)


print(lines_of_code(logits, policy_loss, jsd_loss, hdpo_step), "lines of HDPO")
print(lines_of_code(ids, sample, reward), "lines to encode, sample and judge")

# %% [markdown]
# ## Train on the cliff
#
# We train two copies of the base model on this one puzzle: one with the distillation term, and one without, which is
# GRPO. The learning rate is higher than the study's, because we have one puzzle and little patience.
#
# > **Predict.** How many steps does HDPO need until the student finds a right answer by itself? And GRPO?


# %%
def train(problem, weight, steps, rate=3e-4, seed=0, **settings):
    """Right rollouts at every step, and the trained model."""
    torch.manual_seed(seed)
    model = load_policy(study.base_path, implementation="small")
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    return [hdpo_step(model, optimizer, problem, weight, **settings) for _ in range(steps)], model


STEPS = 20
right, trained = {}, {}
for name, weight in {"HDPO": 1.0, "GRPO": 0.0}.items():
    right[name], trained[name] = train(cliff, weight, STEPS)
    print(f"{name}: right rollouts at each step: {right[name]}")

# %%
use_style()
first = next((step for step, count in enumerate(right["HDPO"]) if count), None)
figure, axis = plt.subplots(figsize=(4.4, 3))
for name, colour in {"HDPO": "blue", "GRPO": "orange"}.items():
    axis.plot(right[name], "o-", ms=4, color=PALETTE[colour])
    end = (STEPS - 1, right[name][-1])
    axis.annotate(name, end, (8, 0), textcoords="offset points", color=PALETTE[colour], va="center")
if first:
    axis.axvspan(-0.5, first - 0.5, color=PALETTE["grey"], alpha=0.15, lw=0)
    axis.annotate("a cliff: the teacher\nis asked", (-0.2, 12.5), fontsize="small")
axis.set(xlabel="training step", ylabel="right rollouts of 16,\nwithout the hint", xlim=(-0.5, STEPS + 2))
axis.set(ylim=(-0.5, 16.5), xticks=range(0, STEPS, 4), yticks=range(0, 17, 4))
said = "has found no right answer yet" if first is None else f"finds a right answer at step {first}"
axis.set_title(f"HDPO's student {said};\nGRPO's {'does as well' if any(right['GRPO']) else 'never does'}")
axis.title.set_fontweight("bold")
display(figure)

# %% [markdown]
# Two phases. At first every step is a cliff: the policy term is zero, and the distillation term alone moves the
# weights. Once the student finds a first right answer, the problem *is no cliff any more*. The distillation term falls
# silent, and from there on GRPO does its ordinary work. This hand-over is HDPO's design. (Near the end the student
# stumbles, and recovers: our learning rate is high.)
#
# GRPO's copy has not moved at all. We check that, and let both try once more, without the hint. (In the kit an AdamW
# step without any gradient still applies momentum and weight decay. That moves weights, but teaches nothing.)

# %%
base = load_policy(study.base_path, implementation="small")
for name, model in trained.items():
    moved = sum(int((a != b).sum()) for a, b in zip(model.parameters(), base.parameters(), strict=True))
    print(f"{name}: {moved:,} weights changed")
    for answer in sample(model, ids(task.student_prompt(cliff)), 4):
        mark = "right" if reward(cliff, answer) else "wrong"
        print(f"   {mark}  {tokenizer.batch_decode([answer.tolist()], skip_special_tokens=True)[0]}")

# %% [markdown]
# ## Learned, or learned by heart?
#
# One puzzle teaches one puzzle. We ask the trained student for puzzles that it has not seen, and count.
#
# > **Predict.** Has it become better at other puzzles of five numbers? Worse at easy ones?

# %%
others = {size: [p for p in task.problems("development") if p.difficulty == size][:12] for size in (3, 5)}
scores = {
    name: {
        f"{size} numbers": sum(reward(p, answer) for p in problems for answer in sample(model, ids(p.question), 4))
        / (4 * len(problems))
        for size, problems in others.items()
    }
    for name, model in {"base model": base, "after HDPO on one cliff": trained["HDPO"]}.items()
}
pd.DataFrame(scores).map("{:.0%}".format).rename_axis("share of right tries on other puzzles")

# %% [markdown]
# Learned by heart: it solves no other puzzle of five numbers. On easy ones it has rather become worse, though so few
# tries cannot tell such a fall from chance. A study trains on many puzzles of all sizes, at a smaller learning rate.
# Then what is learned on cliffs carries over to new ones. Lesson 4 shows how far.
#
# ## The same in the kit
#
# The kit's method is one file. Its step, read from the file itself:

# %%
Markdown(f"```python\n{textwrap.dedent(inspect.getsource(HDPO.step))}```")

# %%
beside = {
    "sample(model, student, group)": "trainer.sample(problems)",
    "reward(problem, answer)": "trainer.score(problems, rollouts)",
    "rewards.sum() == 0": "cliff_mask(rewards)",
    "sample(model, teacher, tries), kept if reward is 1": "trainer.demonstrate(",
    "policy_loss / n_tokens": "learn.policy(",
    "+ weight * jsd_loss / n_tokens": "learn.distill(",
    "zero_grad, clip_grad_norm_, optimizer.step": "for learn in trainer.updates()",
}
assert all(call in inspect.getsource(HDPO.step) for call in beside.values())
pd.Series(beside, name="the kit, hdpo/methods/hdpo.py").rename_axis("ours").to_frame()

# %% [markdown]
# Line by line it is what you wrote. The kit adds batches of problems, advantages divided by their spread, a clip that
# keeps several updates on one batch near its policy, micro-batches that fit memory, several processes, and the
# top-$k$ form of the divergence. That form keeps the teacher's $k$ largest logits only, which saves memory where a
# vocabulary is large.
#
# ## Is it the same gradient?
#
# Words are cheap. We draw demonstrations of this cliff, give them to both, and compare the gradients of the
# distillation term, weight by weight. First with $k$ as large as the vocabulary, where the top-$k$ form is the plain
# divergence, then with the study's own $k$.
#
# > **Predict.** Equal to the last bit? To a millionth? And with the smaller $k$?

# %%
trainer = Trainer(study.run("hdpo-drifting-0.1", seed=0))
student, teacher = ids(task.student_prompt(cliff)), ids(task.privileged_prompt(cliff))
demonstrations = trainer.demonstrate([cliff], 16)
answers = demonstrations.teacher.completions
ours = jsd_loss(trainer.policy, student, teacher, answers) / sum(map(len, answers))
ours = torch.cat([part.flatten() for part in torch.autograd.grad(ours, list(trainer.policy.parameters()))])


def kit_gradient(top_k):
    """The kit's gradient of the distillation term with weight 1, as one vector."""
    for learn in trainer.updates():
        learn.distill(trainer.method.divergence, demonstrations, top_k, weight=1.0)
        return torch.cat([part.flatten().clone() for part in trainer.learner.gradients()])  # and no step is taken


rows = {}
for top_k in (len(tokenizer), trainer.method.top_k):
    gap = (kit_gradient(top_k) - ours).norm() / ours.norm()
    rows[f"k = {top_k} of {len(tokenizer)} tokens"] = {
        "norm of ours": float(ours.norm()),
        "relative difference": f"{gap:.1e}",
    }
print(len(answers), "demonstrations")
assert (kit_gradient(len(tokenizer)) - ours).norm() < 1e-4 * ours.norm()
pd.DataFrame.from_dict(rows, orient="index")

# %% [markdown]
# With the whole vocabulary both agree up to rounding: sums in another order. The smaller $k$ changes a little, since
# the teacher's tail is cut off and the rest rescaled. You have written HDPO.
#
# ## Try it
#
# Another cliff (`number`), another $\lambda$, another seed. A minute at most; fewer steps are faster.

# %%
number, λ, seed, steps = 1, 1.0, 0, 8
another = [problem for problem in task.problems("train") if problem.difficulty == 5][number]
print(another.question, "right rollouts at each step:", train(another, λ, steps, seed=seed)[0])

# %% [markdown]
# ## Exercises
#
# **1.** Predict first: with $\lambda = 0.01$ instead of 1, how much later does the first success come?
#
# <details><summary>Solution</summary>
#
# Hardly later. While the puzzle is a cliff, the distillation term is alone, and AdamW divides the gradient by its own
# running size: a factor in front drops out. $\lambda$ matters where both terms speak at once, in a batch that holds
# cliffs *and* problems with successes.
#
# ```python
# for weight in (1.0, 0.01):
#     print(f"λ = {weight:g}:", train(cliff, weight, steps=7)[0])
# ```
#
# </details>
#
# **2.** Leave the filter out: keep every try of the teacher. What do you expect on this cliff?
#
# <details><summary>Solution</summary>
#
# ```python
# print(train(cliff, 1.0, steps=8, keep_all=True)[0])
# ```
#
# The student is now also pulled along wrong answers, though still towards what the teacher would say at each token. One
# puzzle cannot tell whether that hurts. This is one of the planned controls (lesson 4).
#
# </details>
#
# **3.** Why does `jsd_loss` compute the teacher's `P` under `torch.no_grad()`? What could the optimiser do otherwise?
#
# <details><summary>Solution</summary>
#
# It could lower the divergence from the other side: make the teacher as ignorant as the student. Both share their
# weights, so forgetting how to use a hint would count as progress.
#
# </details>
#
# **4.** Plain supervised learning on the hint also opens a cliff: lower $-\log \pi_\theta(y^* \mid x)$. Write
# `sft_loss` and take a few steps. What does HDPO have that this has not?
#
# <details><summary>Solution</summary>
#
# ```python
# def sft_loss(model, prompt, answer):
#     return -logits(model, prompt, answer).log_softmax(-1).gather(-1, answer[:, None]).mean()
#
#
# model = load_policy(study.base_path, implementation="small")
# optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
# for _ in range(8):
#     optimizer.zero_grad()
#     sft_loss(model, student, ids(cliff.hint + " <eos>")).backward()
#     optimizer.step()
# torch.manual_seed(0)
# print(int(sum(reward(cliff, answer) for answer in sample(model, student, 16))), "of 16 right after 8 steps")
# ```
#
# It copies one text word for word. HDPO's target is a distribution at each token, over answers in the model's own hand.
# The paper does not compare the two. Whether the difference matters is among the questions of lesson 4.
#
# </details>
#
# ## What to take along
#
# - HDPO is GRPO with one more branch: on a cliff, ask yourself with the hint in sight, keep what is right, imitate it.
# - The student does solve the puzzle alone afterwards, and then GRPO takes over.
# - The kit's method file is this, with batches and safeguards; the gradients agree.
