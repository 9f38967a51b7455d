"""Where a model stands before training: how many prompts are cliffs, of what kind, and whether the hint opens them."""

import math
from typing import Any

import numpy as np

from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.tokenizer import encode
from hdpo.sampling.backend import load_sampler, require_backend
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.rng import generator
from hdpo.tasks.scoring import Scorer

PRIVILEGED = 4  # tries with the hint for each problem, as HDPO's default


def measure_cliffs(study: Study, problems: int, tries: int) -> dict[str, Any]:
    """Shares over the first training problems; each problem is tried plainly and with its hint.

    Raises:
        UserError: fewer tries than rollouts of a prompt, fewer problems than asked for, or problems without hints.
    """
    group = study.train.rollouts_per_prompt
    if tries < group:
        raise UserError(f"--tries {tries}: a step draws {group} rollouts of a prompt; give at least as many")
    if problems > study.task.problems.train:
        raise UserError(f"--problems {problems}: the study has {study.task.problems.train} training problems")
    require_backend(study)
    task, tokenizer = study.task.load(study), load_tokenizer(study.base_path, study.model.revision)
    asked = list(task.problems("train"))[:problems]
    if bare := sum(not problem.hint for problem in asked):
        raise UserError(f"task {study.task.name}: {bare} of {problems} training problems have no hint to show")
    model = load_policy(
        study.base_path,
        study.model.dtype,
        study.model.attention,
        revision=study.model.revision,
        implementation=study.model.implementation,
    )
    sampler, scorer = load_sampler(study, model, study.base_path, tokenizer.eos_token_id), Scorer(task, tokenizer)
    solved = {}
    for purpose, ask, count in (("plain", task.student_prompt, tries), ("hinted", task.privileged_prompt, PRIVILEGED)):
        prompts, random = (
            encode(tokenizer, list(map(ask, asked))),
            generator(0, f"cliffs {purpose}", device=model.device),
        )
        drawn = sampler.sample(prompts, count, study.train.temperature, random)
        solved[purpose] = scorer.judge(asked, drawn.sequences.completions).rewards.sum(1).int().numpy()
    return summarise(solved["plain"], tries, solved["hinted"], PRIVILEGED, group) | {"study": study.name}


def summarise(plain: np.ndarray, tries: int, hinted: np.ndarray, hinted_tries: int, group: int) -> dict[str, Any]:
    """What the counts of successes say, [Q] each, as shares with the number of problems behind them.

    A problem with c successes in n tries is a cliff of G rollouts with chance C(n−c, G)/C(n, G), without bias.
    """
    cliff = np.array([math.comb(tries - c, group) / math.comb(tries, group) for c in plain.tolist()])
    never = plain == 0
    unlucky, rate = np.where(never, 0.0, cliff), hinted / hinted_tries
    return {
        "problems": len(plain),
        "tries": tries,
        "group": group,
        "hinted_tries": hinted_tries,
        "always": float((plain == tries).mean()),
        "cliffs": float(cliff.mean()),
        "depth": float((cliff * plain).sum() / (cliff.sum() * tries)) if cliff.sum() else None,  # pass rate on cliffs
        "never": float(never.mean()),
        "unlucky": float(unlucky.mean()),
        "unlucky_pass_rate": float((unlucky * plain).sum() / (unlucky.sum() * tries)) if unlucky.sum() else None,
        "hinted_on_never": float(rate[never].mean()) if never.any() else None,
        "hinted_on_unlucky": float((unlucky * rate).sum() / unlucky.sum()) if unlucky.sum() else None,
        "opened_on_never": float((hinted[never] > 0).mean()) if never.any() else None,
    }


def describe(found: dict[str, Any]) -> list[str]:
    """The same in words, and what to expect of HDPO."""
    n, spread = found["problems"], 1.96 * math.sqrt(found["cliffs"] * (1 - found["cliffs"]) / found["problems"])
    lines = [
        f"{n} training problems, {found['tries']} plain tries and {found['hinted_tries']} with the hint for each.",
        f"  {found['always']:6.1%}  solved in every try: nothing to learn",
        f"  {found['cliffs']:6.1%}  cliffs, all {found['group']} rollouts of a step fail (give or take {spread:.1%})",
        f"  {found['never']:6.1%}  never solved: true cliffs, as far as {found['tries']} tries can tell",
        f"  {found['unlucky']:6.1%}  unlucky cliffs, solved in other tries",
    ]
    if found["hinted_on_never"] is not None:
        opened = f"{found['opened_on_never']:.1%} at least once in {found['hinted_tries']}"
        lines.append(f"With the hint, {found['hinted_on_never']:.1%} of tries on true cliffs succeed, {opened}.")
    if found["hinted_on_unlucky"] is not None:
        rates = f"{found['hinted_on_unlucky']:.1%} of tries succeed, without it {found['unlucky_pass_rate']:.1%}"
        lines.append(f"With the hint, on unlucky cliffs, {rates}.")
    return [*lines, _expectation(found)]


def _expectation(found: dict[str, Any]) -> str:
    """What the two regimes of the small world lead one to expect; toy scale."""
    if found["cliffs"] < 0.02:
        return "Expect nothing from HDPO: there are hardly any cliffs. Take harder problems, or train GRPO."
    on_true, hinted = found["never"] >= found["unlucky"], found["hinted_on_never"] or 0.0
    if on_true and hinted < 0.05:
        return (
            "Expect little: the hints do not open the true cliffs. Look at `hdpo prompts STUDY`, show worked solutions"
            " rather than answers, or take a model that can follow them."
        )
    if on_true:
        return (
            "Expect HDPO to help: most cliffs are out of GRPO's reach and the hint opens them. Compare with SFT on the"
            " reference solutions, which uses the same information. Measured at toy scale only."
        )
    return (
        "Expect GRPO to open most of these cliffs itself, and HDPO to trade accuracy for coverage at best. Measured at"
        " toy scale only."
    )
