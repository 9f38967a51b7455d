"""Rows of the theory table on the privileged proxy: how far it is from its target, and why."""

import numpy as np
import pandas as pd

from hdpo.theory import proxy_gap
from hdpo.theory.bandit import condition_on_success, example_bandit
from hdpo.theory.divergences import total_variation
from hdpo.theory.statements import EXACT, row

HINTS = [(s * (1 - share), s * share) for s in (0.1, 1.0, 3.0, 6.0) for share in (0.0, 0.3, 0.7, 1.0)]


def rows() -> list[dict]:
    """π_θ(·|x, y*, R=1) against π_θ(·|x, R=1): the tilt, the split of the leak, and when the gap is 0."""
    bandit = example_bandit()
    student, target, reward = bandit.student_logp(), bandit.target_logp(), bandit.reward
    teachers = [bandit.teacher_logp(hint) for hint in HINTS]
    off_tilt = max(
        total_variation(proxy_gap.tilted_target(student, teacher, reward), condition_on_success(teacher, reward))
        for teacher in teachers
    )
    split = pd.DataFrame([proxy_gap.leaked_information(student, teacher, reward) for teacher in teachers])
    parts = split["correctness"] + split["which right"] + split["which wrong"]
    off_split = (parts / split["total"] - 1).abs().max()
    excess = (split["gap"] * split["teacher_success"] / split["total"]).max()
    answer_gap = split["gap_tv"][[hint[1] == 0 for hint in HINTS]].max()
    one_bit = bandit.teacher_logp(proxy_gap.hint_with_information(bandit, proxy_gap.NATS_PER_BIT, 1.0))
    worked = proxy_gap.leaked_information(student, one_bit, reward)
    odds = -np.diff((one_bit - student)[reward == 1])[0]
    channel = np.random.default_rng(5).dirichlet(np.full(5, 0.5), size=student.size)  # P(h|y) [A, H]
    average = proxy_gap.average_over_hints(student, channel, reward)
    mixed = 0.5 * np.abs(average["mixture"] - np.exp(target)).sum()
    ratio = average["mean gap"] / average["mutual information"]
    return [
        row("proxy.tilt", "TV, worst of 16 hints", 0, off_tilt, EXACT),
        row("proxy.leak", "relative difference, worst of 16 hints", 0, off_split, EXACT),
        row("proxy.gap", "largest gap · p_T / leak", 1, excess, EXACT, "at most"),
        row("proxy.answer", "TV, hint strengths 0.1 to 6 nats of logit", 0, answer_gap, EXACT, limits=True),
        row("proxy.solution", "TV at a leak of 1 bit", 0, worked["gap_tv"], EXACT),
        row("proxy.odds", "change of log odds at 1 bit, nats", 0, odds, EXACT),
        row("proxy.average", "TV", 0, mixed, EXACT, limits=True),
        row("proxy.information", "mean gap over mutual information", 1, ratio, EXACT),
    ]
