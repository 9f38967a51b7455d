"""How far the privileged proxy π_θ(·|x, y*, R=1) is from the target π_θ(·|x, R=1), and why.

Proposition 2 samples the target from π_ref; on a cliff the paper samples the hinted policy instead. Two
exact identities say what that costs. With PMI(y; y*|x) = log π_θ(y|x, y*) − log π_θ(y|x),

    π_θ(·|x, y*, R=1) ∝ π_θ(·|x, R=1) · exp PMI(·; y*|x)                        (tilt, arXiv:2606.26091)
    KL(π_θ(·|x,y*) ‖ π_θ(·|x)) = about whether it is correct + p_T · gap + (1 − p_T) · gap among wrong ones

so the proxy is exact when the hint tells only *whether* a trajectory is correct, however many nats it
leaks, and the gap is what it tells about *which* correct one. Ideal KL-regularised RL keeps those odds.
"""

from contextlib import suppress

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import rel_entr

from hdpo.system.errors import UserError
from hdpo.theory.bandit import Bandit, condition_on_success, example_bandit, success_probability
from hdpo.theory.divergences import kl, kl_between_logits, log_softmax, require_logp, require_positive, total_variation
from hdpo.theory.statements import EXACT, row

NATS_PER_BIT = np.log(2.0)
HINTS = [(s * (1 - share), s * share) for s in (0.1, 1.0, 3.0, 6.0) for share in (0.0, 0.3, 0.7, 1.0)]


def tilted_target(student_logp: np.ndarray, teacher_logp: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """log of π_θ(·|x, R=1) · exp PMI, normalised, [A]: built from the target, not from the teacher.

    Raises UserError if either policy is not normalised.
    """
    information = require_logp("teacher", teacher_logp) - require_logp("student", student_logp)
    return log_softmax(condition_on_success(student_logp, reward) + information)


def leaked_information(student_logp: np.ndarray, teacher_logp: np.ndarray, reward: np.ndarray) -> dict[str, float]:
    """KL(teacher ‖ student) in nats by the chain rule: `total` = correctness + which right + which wrong.

    `gap` is KL(proxy ‖ target) itself and `gap_tv` its total variation; `which right` = p_T · `gap`, hence
    gap ≤ total / p_T. Raises UserError where no correct arm has probability or no arm is wrong.
    """
    target, proxy = condition_on_success(student_logp, reward), condition_on_success(teacher_logp, reward)
    success, before = success_probability(teacher_logp, reward), success_probability(student_logp, reward)
    require_positive("probability of a wrong arm", 1 - before, most=1)
    among_wrong, gap = (float(kl_between_logits(teacher_logp[reward == r], student_logp[reward == r])) for r in (0, 1))
    return {
        "total": float(kl_between_logits(teacher_logp, student_logp)),
        "correctness": float(kl_between_logits(*(np.log([s, 1 - s]) for s in (success, before)))),
        "which right": success * gap,
        "which wrong": (1 - success) * among_wrong,
        "gap": gap,
        "gap_tv": float(total_variation(proxy, target)),
        "teacher_success": success,
    }


def hint_with_information(bandit: Bandit, nats: float, solution_share: float) -> np.ndarray:
    """The hint [H] that leaks `nats` = KL(teacher ‖ student), `solution_share` of its strength as a solution.

    Share 0 is a pure answer, 1 a pure worked solution. A hint can leak at most −log of the probability of
    what it names; more raises UserError.
    """
    require_positive("leaked information (nats)", nats)
    direction = np.array([1.0 - solution_share, solution_share])
    student = bandit.student_logp()

    def excess(log_strength: float) -> float:
        return float(kl(bandit.teacher_logp(np.exp(log_strength) * direction), student)) - nats

    if excess(np.log(1e3)) < 0:
        raise UserError(f"leaked information must be below what this hint can say, got {nats:g} nats")
    return np.exp(brentq(excess, np.log(1e-6), np.log(1e3), xtol=1e-14)) * direction


def proxy_curve(nats: np.ndarray | None = None) -> pd.DataFrame:
    """The gap against leaked information, a row per share of the solution and each of `nats` that it can reach."""
    bandit, rows = example_bandit(), []
    for share in (0.0, 0.5, 1.0):
        for amount in np.logspace(-2, np.log10(4.5), 25) if nats is None else nats:
            with suppress(UserError):  # a hint that cannot say so much
                hint = hint_with_information(bandit, float(amount), share)
                split = leaked_information(bandit.student_logp(), bandit.teacher_logp(hint), bandit.reward)
                rows.append({"share": share, "bits": amount / NATS_PER_BIT, **split})
    return pd.DataFrame(rows)


def average_over_hints(
    student_logp: np.ndarray, hint_given_arm: np.ndarray, reward: np.ndarray
) -> dict[str, np.ndarray]:
    """Many hints at once, for a teacher that is the exact posterior of the joint π(y) P(h|y).

    `hint_given_arm` [A, H] holds P(h|y). Returns the mixture of proxies over h ~ P(h|R=1) (which is the
    target, by the law of total probability), the mean gap KL(proxy_h ‖ target), and I(Y; H | R=1) computed
    from the joint, which that mean equals. Raises UserError if a row of `hint_given_arm` is not normalised.
    """
    with np.errstate(divide="ignore"):
        log_hint = require_logp("hint channel P(h|y)", np.log(hint_given_arm))  # [A, H]
    target = condition_on_success(student_logp, reward)
    joint = np.exp(target[:, None] + log_hint)  # P(y, h | R=1)
    weights = joint.sum(axis=0)  # P(h | R=1) [H]
    heard = np.flatnonzero(weights)
    posteriors = log_softmax((student_logp[:, None] + log_hint[:, heard]).T)
    proxies = condition_on_success(posteriors, reward)  # [H, A]
    return {
        "mixture": weights[heard] @ np.exp(proxies),
        "mean gap": weights[heard] @ kl(proxies, target),
        "mutual information": rel_entr(joint, np.exp(target)[:, None] * weights).sum(),
    }


def proxy_rows() -> list[dict]:
    """π_θ(·|x, y*, R=1) against π_θ(·|x, R=1): the tilt, the split of the leak, and when the gap is 0."""
    bandit = example_bandit()
    student, target, reward = bandit.student_logp(), bandit.target_logp(), bandit.reward
    teachers = bandit.teacher_logp(HINTS)  # [hint, A]
    proxies = condition_on_success(teachers, reward)
    off_tilt = total_variation(tilted_target(student, teachers, reward), proxies).max()
    split = pd.DataFrame([leaked_information(student, teacher, reward) for teacher in teachers])
    parts = split["correctness"] + split["which right"] + split["which wrong"]
    off_split = (parts / split["total"] - 1).abs().max()
    excess = (split["gap"] * split["teacher_success"] / split["total"]).max()
    answer_gap = split["gap_tv"][[hint[1] == 0 for hint in HINTS]].max()
    one_bit = bandit.teacher_logp(hint_with_information(bandit, NATS_PER_BIT, 1.0))
    worked = leaked_information(student, one_bit, reward)
    odds = -np.diff((one_bit - student)[reward == 1])[0]
    channel = np.random.default_rng(5).dirichlet(np.full(5, 0.5), size=student.size)  # P(h|y) [A, H]
    average = average_over_hints(student, channel, reward)
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
