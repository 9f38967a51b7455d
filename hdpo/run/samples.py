"""Samples of training: what student and teacher say, at some steps, for a few problems.

Nothing here changes a run. The texts are those that the step has drawn and judged: for the time of one step, the
scorers of student and teacher note what they are asked. After the update two things are added: the JSD of the tokens
of one kept demonstration for each cliff, and new tries of the student on cliffs of earlier samples, until it solves
them once. Both use the weights after the update, and the tries have a random generator of their own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hdpo.learning.jsd import jsd_k
from hdpo.learning.trainer import Trainer
from hdpo.model.forward import completion_hidden, per_token
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import Tokenizer, encode
from hdpo.run.samples_file import write_samples
from hdpo.system.files import remove
from hdpo.system.rng import generator
from hdpo.tasks import Problem
from hdpo.tasks.scoring import Judged, Scorer

CHOSEN = {"cliff": 2, "mixed": 1, "solved": 1}  # problems of each kind in a sample
FOLLOWED = 2  # cliffs of earlier samples that the student tries again
ROLLOUTS, TRIES = 16, 8  # rollouts of one problem that are kept at most, and tries on a followed one


@dataclass(frozen=True)
class Asked:
    """One call of the verifier: P problems, their P·n completions, and what it said."""

    problems: list[Problem]
    completions: list[Tensor]
    judged: Judged

    def tries(self, i: int) -> Iterator[tuple[int, Tensor, str, int]]:
        """Number, tokens, text and reward of each response to problem `i`."""
        rewards = self.judged.rewards[i].int().tolist()
        for number, reward in enumerate(rewards):
            place = i * len(rewards) + number
            yield number, self.completions[place], self.judged.texts[place], reward


class NotingScorer(Scorer):
    """A scorer that keeps what it is asked and what it answers."""

    asked: list[Asked]

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer.task, scorer.tokenizer)
        object.__setattr__(self, "asked", [])

    def judge(self, problems: Sequence[Problem], completions: list[Tensor]) -> Judged:
        judged = super().judge(problems, completions)
        self.asked.append(Asked(list(problems), completions, judged))
        return judged


@contextmanager
def noted(trainer: Trainer) -> Iterator[tuple[list[Asked], list[Asked]]]:
    """While inside, the first list receives what student responses are judged, the second the teacher's."""
    student, teacher = NotingScorer(trainer.scorer), trainer.teacher
    privileged = NotingScorer(teacher.scorer) if teacher else student
    trainer.scorer, before = student, trainer.scorer
    if teacher:
        teacher.scorer = privileged
    try:
        yield student.asked, privileged.asked if teacher else []
    finally:
        trainer.scorer = before
        if teacher:
            teacher.scorer = before


class Samples:
    """The samples of a run so far, and the file that holds them."""

    def __init__(self, path: Path | None, every: int | None, rows: list[dict[str, Any]]) -> None:
        """Start the file anew with `rows`, the samples of the steps already done.

        Args:
            path: None on all ranks but the first.
            every: a sample is taken in each step that this divides; None: never.
        """
        self.path, self.every, self.rows = path, every, rows
        self._write()

    def step(self, trainer: Trainer, step: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Take the trainer's step; its metrics, and the rows of its sample if it is one."""
        if self.every is None or step % self.every:
            return trainer.step(step), []
        with noted(trainer) as (student, teacher):
            record = trainer.step(step)
        rows = take_sample(trainer, step, student, teacher, self.rows)
        self.rows += rows
        self._write()
        return record, rows

    def _write(self) -> None:
        if self.path is None:
            return
        if self.every is None:
            remove(self.path)
        else:
            write_samples(self.path, self.rows)


def take_sample(
    trainer: Trainer, step: int, student: list[Asked], teacher: list[Asked], before: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of one sample (`hdpo.run.samples_file`), taken after `step`; every rank must call it.

    Args:
        student: what the student's responses of this step were judged, and `teacher`, the teacher's.
        before: the rows of earlier samples: the cliffs in them are followed.
    """
    shown = {problem.id: (asked, i) for asked in teacher for i, problem in enumerate(asked.problems)}
    rows: list[dict[str, Any]] = []
    for asked, i, kind in _chosen(student[:1], shown):  # a method may draw more than once, and with hints
        problem = asked.problems[i]
        prompt = trainer.task.student_prompt(problem)
        rows += _rows(step, problem, kind, "student", prompt, list(asked.tries(i))[:ROLLOUTS])
        if problem.id in shown:
            rows += _teacher_rows(trainer, step, problem, kind, *shown[problem.id])
    return rows + _follow(trainer, step, before)


def _chosen(student: list[Asked], shown: dict[str, tuple[Asked, int]]) -> list[tuple[Asked, int, str]]:
    """The first problems of each kind in the order of the batch; of the cliffs, those that the teacher solves first."""
    found: dict[str, list[tuple[Asked, int, str]]] = {kind: [] for kind in CHOSEN}
    for asked in student:
        for i, rewards in enumerate(asked.judged.rewards):
            kind = "cliff" if not rewards.any() else "solved" if rewards.all() else "mixed"
            found[kind].append((asked, i, kind))

    def is_missed(entry: tuple[Asked, int, str]) -> bool:
        teacher, place = shown.get(entry[0].problems[entry[1]].id, (None, 0))
        return teacher is None or not bool(teacher.judged.rewards[place].any())

    found["cliff"].sort(key=is_missed)  # stable
    return [entry for kind, count in CHOSEN.items() for entry in found[kind][:count]]


def _rows(
    step: int, problem: Problem, kind: str, role: str, prompt: str, tries: Sequence[tuple[int, Tensor, str, int]]
) -> list[dict[str, Any]]:
    same = {"step": step, "problem": problem.id, "kind": kind, "role": role, "prompt": prompt}
    more = {"kept": None, "tokens": None, "jsd": None}
    return [same | {"number": number, "reward": reward, "text": text} | more for number, _, text, reward in tries]


def _teacher_rows(
    trainer: Trainer, step: int, problem: Problem, kind: str, asked: Asked, i: int
) -> list[dict[str, Any]]:
    """The teacher's tries on one problem; the first that was kept has the JSD of each of its tokens."""
    prompt, tries = _shown(trainer, problem), list(asked.tries(i))
    rows = _rows(step, problem, kind, "teacher", prompt, tries)
    measured = False
    for row, (_, completion, _, reward) in zip(rows, tries, strict=True):
        row["kept"] = reward == 1 or not getattr(trainer.method, "filtered", True)
        if row["kept"] and not measured:
            row["tokens"] = pieces(trainer.tokenizer, completion.tolist())
            row["jsd"] = _token_jsd(trainer, problem, completion)
            measured = True
    return rows


def _shown(trainer: Trainer, problem: Problem) -> str:
    """What the teacher sees of a problem: x ⊕ y*, unless the method shows it something else."""
    own = getattr(trainer.method, "shown", None)
    return own(trainer, problem) if own else trainer.task.privileged_prompt(problem)


@torch.no_grad()
def _token_jsd(trainer: Trainer, problem: Problem, completion: Tensor) -> list[float | None]:
    """JSD of student and teacher at each token of a demonstration, nats, by the weights after the update.

    Over the teacher's most probable tokens, as many as the method takes, or 64.
    """
    plain, privileged = encode(trainer.tokenizer, [trainer.task.student_prompt(problem), _shown(trainer, problem)])
    method, teacher = trainer.method, trainer.teacher
    if teacher is None:
        return []
    divergence = partial(jsd_k, tail=getattr(method, "tail", "exact"))
    ((logp, tokens),) = teacher.targets([Sequences([privileged], [completion])], getattr(method, "top_k", 64))
    hidden = completion_hidden(trainer.policy, Sequences([plain], [completion]))
    values = per_token(trainer.policy, divergence, hidden, logp, tokens).tolist()
    return [value if math.isfinite(value) else None for value in values]


def _follow(trainer: Trainer, step: int, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """New tries of the student on the first cliffs of earlier samples that it has not solved since."""
    solved = {row["problem"] for row in before if row["role"] == "student" and row["reward"]}
    cliffs = dict.fromkeys(row["problem"] for row in before if row["kind"] == "cliff")
    wanted = [name for name in cliffs if name not in solved][:FOLLOWED]
    if not wanted:
        return []
    by_id = {problem.id: problem for problem in trainer.problems if problem.id in wanted}
    problems = [by_id[name] for name in wanted if name in by_id]
    prompts = [trainer.task.student_prompt(problem) for problem in problems]
    random = generator(trainer.run.seed, "samples", step, trainer.policy.device)
    tries = min(TRIES, trainer.settings.rollouts_per_prompt)
    drawn = trainer.sampler.sample(encode(trainer.tokenizer, prompts), tries, trainer.settings.temperature, random)
    completions = drawn.sequences.completions
    asked = Asked(problems, completions, trainer.scorer.judge(problems, completions))
    return [
        row
        for i, (problem, prompt) in enumerate(zip(problems, prompts, strict=True))
        for row in _rows(step, problem, "followed", "student", prompt, list(asked.tries(i)))
    ]


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text of each token; joined, they are the text of all.

    A token may end inside a character: its text comes with the token that completes the character.
    """
    texts = tokenizer.batch_decode([ids[: end + 1] for end in range(len(ids))])
    found, before = [], ""
    for text in [*(text.rstrip("\N{REPLACEMENT CHARACTER}") for text in texts[:-1]), *texts[-1:]]:
        if not text.startswith(before):  # of a tokenizer that decodes a token by what follows it
            return [tokenizer.batch_decode([[token]])[0] for token in ids]
        found.append(text[len(before) :])
        before = text
    return found
