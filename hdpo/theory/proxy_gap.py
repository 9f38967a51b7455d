"""How far the privileged proxy π_θ(·|x, y*, R=1) is from the target π_θ(·|x, R=1), and why.

Proposition 2 samples the target from π_ref; on a cliff the paper samples the hinted policy instead. Two
exact identities say what that costs. With PMI(y; y*|x) = log π_θ(y|x, y*) − log π_θ(y|x),

    π_θ(·|x, y*, R=1) ∝ π_θ(·|x, R=1) · exp PMI(·; y*|x)                        (tilt, arXiv:2606.26091)
    KL(π_θ(·|x,y*) ‖ π_θ(·|x)) = about whether it is correct + p_T · gap + (1 − p_T) · gap among wrong ones

so the proxy is exact when the hint tells only *whether* a trajectory is correct, however many nats it
leaks, and the gap is what it tells about *which* correct one. Ideal KL-regularised RL keeps those odds.
"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import rel_entr

from hdpo.system.errors import UserError
from hdpo.theory.bandit import Bandit, condition_on_success, success_probability
from hdpo.theory.divergences import kl, kl_between_logits, log_softmax, total_variation
from hdpo.theory.validate import require_logp, require_positive, require_probability

NATS_PER_BIT = np.log(2.0)


def pointwise_mutual_information(student_logp: np.ndarray, teacher_logp: np.ndarray) -> np.ndarray:
    """PMI(y; y*|x) [A] in nats. Raises UserError if either policy is not normalised."""
    return require_logp("teacher", teacher_logp) - require_logp("student", student_logp)


def tilted_target(student_logp: np.ndarray, teacher_logp: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """log of π_θ(·|x, R=1) · exp PMI, normalised, [A]: built from the target, not from the teacher."""
    information = pointwise_mutual_information(student_logp, teacher_logp)
    return log_softmax(condition_on_success(student_logp, reward) + information)


def leaked_information(student_logp: np.ndarray, teacher_logp: np.ndarray, reward: np.ndarray) -> dict[str, float]:
    """KL(teacher ‖ student) in nats by the chain rule: `total` = correctness + which right + which wrong.

    `gap` is KL(proxy ‖ target) itself and `gap_tv` its total variation; `which right` = p_T · `gap`, hence
    gap ≤ total / p_T. Raises UserError where no correct arm has probability or no arm is wrong.
    """
    target, proxy = condition_on_success(student_logp, reward), condition_on_success(teacher_logp, reward)
    success, before = success_probability(teacher_logp, reward), success_probability(student_logp, reward)
    require_probability("probability of a wrong arm", 1 - before)
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


def gap_curve(bandit: Bandit, nats: np.ndarray, shares: tuple[float, ...] = (0.0, 0.5, 1.0)) -> pd.DataFrame:
    """The gap against leaked information: one row per share in `shares` and entry of `nats` it can reach."""
    rows = []
    for share in shares:
        for amount in nats:
            try:
                hint = hint_with_information(bandit, float(amount), share)
            except UserError:
                continue
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
    proxies = np.array([condition_on_success(posterior, reward) for posterior in posteriors])  # [H, A]
    return {
        "mixture": weights[heard] @ np.exp(proxies),
        "mean gap": weights[heard] @ kl(proxies, target),
        "mutual information": rel_entr(joint, np.exp(target)[:, None] * weights).sum(),
    }
