"""What a policy can do: its outcomes on problems, during training and at the end."""

from collections.abc import Sequence
from typing import Any

import torch

from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Sampler
from hdpo.sampling.vllm_sampler import VllmSampler
from hdpo.study.study import Study
from hdpo.system.rng import generator
from hdpo.tasks import TRAINING_SPLITS, Problem
from hdpo.tasks.scoring import Scorer


def evaluate(
    scorer: Scorer,
    sampler: Sampler | VllmSampler,
    problems: Sequence[Problem],
    samples: int,
    temperature: float,
    random: torch.Generator,
) -> list[dict[str, Any]]:
    """One row per problem: the greedy outcome, and the n sampled outcomes in draw order.

    Beside them, over the n samples: distinct correct texts, repetitions of y*, and the means of the length in tokens
    and of the entropy of a token in nats.
    """
    prompts = encode(scorer.tokenizer, [scorer.task.student_prompt(problem) for problem in problems])
    greedy = scorer.judge(problems, sampler.sample(prompts, 1, 0.0).sequences.completions).rewards[:, 0]
    drawn = sampler.sample(prompts, samples, temperature, random)
    judged = scorer.judge(problems, drawn.sequences.completions)
    lengths = drawn.sequences.lengths.reshape(-1, samples)
    entropies = torch.stack([part.sum() for part in drawn.entropy.split(lengths.sum(1).tolist())]) / lengths.sum(1)
    rows = []
    for i, (problem, outcomes) in enumerate(zip(problems, judged.rewards.int().tolist(), strict=True)):
        texts = judged.texts[i * samples : (i + 1) * samples]
        row = {"problem": problem.id, "difficulty": problem.difficulty, "greedy": int(greedy[i]), "samples": outcomes}
        row["distinct"] = len({text for text, correct in zip(texts, outcomes, strict=True) if correct})
        row["echoes"] = sum(scorer.task.is_echo(problem, text) for text in texts)
        rows.append(row | {"length": float(lengths[i].float().mean()), "entropy": float(entropies[i])})
    return rows


def evaluate_splits(
    study: Study, seed: int, step: int, scorer: Scorer, sampler: Sampler | VllmSampler, device: torch.device
) -> list[dict[str, Any]]:
    """Outcomes on the development and validation problems after `step` steps of training."""
    rows, samples = [], study.evaluate.samples
    for split in TRAINING_SPLITS:
        random = generator(seed, f"evaluate {split}", step, device)
        outcomes = evaluate(scorer, sampler, scorer.task.problems(split), samples, study.train.temperature, random)
        rows += [{"step": step, "split": split} | outcome for outcome in outcomes]
    return rows


def try_again(
    scorer: Scorer,
    sampler: Sampler | VllmSampler,
    problems: Sequence[Problem],
    tries: int,
    temperature: float,
    random: torch.Generator,
) -> list[list[int]]:
    """The outcomes of further samples of each problem, [P][tries]."""
    prompts = encode(scorer.tokenizer, [scorer.task.student_prompt(problem) for problem in problems])
    drawn = sampler.sample(prompts, tries, temperature, random)
    found: list[list[int]] = scorer.judge(problems, drawn.sequences.completions).rewards.int().tolist()
    return found
