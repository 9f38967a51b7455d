"""The toy: one prompt whose arms are trajectories, and a privileged teacher that shares every weight.

Student and teacher are one linear-softmax network on two inputs (paper section 3.2):

    π_θ(·| x)      = softmax(W c),          c   = the features of the prompt
    π_θ(·| x, y*)  = softmax(W (c + B h)),  B h = what the hint h adds to the features

No column of W belongs to only one of the two, so a step on the student moves the teacher as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit, logsumexp

from hdpo.system.errors import UserError
from hdpo.theory.divergences import log_softmax, require_count, require_logp, require_positive, require_reward


@dataclass(frozen=True)
class Bandit:
    """One prompt with its shared network. All arrays are float64."""

    weights: np.ndarray  # W [A, D]
    context: np.ndarray  # c [D]
    hint_map: np.ndarray  # B [D, H]
    reward: np.ndarray  # R [A], 0 or 1

    def student_logp(self) -> np.ndarray:
        """log π_θ(·| x) [A]."""
        return log_softmax(self.weights @ self.context)

    def teacher_logp(self, hint: ArrayLike) -> np.ndarray:
        """log π_θ(·| x, y*) [..., A] for hints [..., H]: the same weights on the longer input."""
        return log_softmax((self.context + np.asarray(hint, float) @ self.hint_map.T) @ self.weights.T)

    def target_logp(self) -> np.ndarray:
        """log π_θ(·| x, R = 1) [A]: the student's own correct trajectories."""
        return condition_on_success(self.student_logp(), self.reward)


def success_probability(logp: np.ndarray, reward: np.ndarray) -> float:
    """P(R = 1) under the policy `logp` [A]. Raises UserError if that is not normalised or `reward` not binary."""
    logp = require_logp("policy", logp)
    return float(np.exp(logp[require_reward("reward R", reward, logp.shape[-1]) == 1]).sum())


def condition_on_success(logp: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """log π(·| R = 1) [..., A] of policies `logp` [..., A]: wrong arms get -inf, correct arms keep their odds.

    Raises UserError where the conditional does not exist, because no correct arm has probability.
    """
    logp = require_logp("policy", logp)
    correct = require_reward("reward R", reward, logp.shape[-1]) == 1
    if np.isneginf(logp[..., correct]).all(axis=-1).any():
        raise UserError(
            "success probability p = P(R = 1) is 0: no correct arm, so π(·|R=1) does not exist; "
            "the policy must give some arm with R = 1 a positive probability"
        )
    return np.where(correct, logp - logsumexp(logp[..., correct], axis=-1, keepdims=True), -np.inf)


def make_bandit(n_arms: int, n_correct: int, success: float, rng: np.random.Generator) -> Bandit:
    """A random bandit with P_θ(R = 1 | x) = `success` exactly and two kinds of hint.

    The first `n_correct` arms are correct; logits otherwise are standard normal. Hints h = (answer, solution), each
    in nats of logit: `answer` lifts every correct arm alike, as knowing the final answer might; `solution` lifts
    arm 0 alone, as a worked solution might. Raises UserError unless 0 < n_correct < n_arms and 0 < success < 1.
    """
    require_count("number of correct arms", n_correct)
    require_count("number of arms", n_arms, least=n_correct + 1)
    if require_positive("success probability p", success, most=1) == 1.0:
        raise UserError("success probability p must be below 1 when some arm is wrong, got 1.0")
    reward = (np.arange(n_arms) < n_correct).astype(np.float64)
    context = rng.normal(size=n_arms + 2)
    weights = rng.normal(size=(n_arms, context.size)) / np.linalg.norm(context)
    logits = weights @ context
    shift = logit(success) - (logsumexp(logits[reward == 1]) - logsumexp(logits[reward == 0]))
    weights = weights + shift * np.outer(reward, context) / (context @ context)
    directions = np.stack([reward, np.eye(n_arms)[0]], axis=1)  # [A, H]
    return Bandit(weights, context, np.linalg.pinv(weights) @ directions, reward)


def example_bandit() -> Bandit:
    """The bandit of the checks, figures and notebooks: 12 arms, 4 correct, p = 0.03."""
    return make_bandit(n_arms=12, n_correct=4, success=0.03, rng=np.random.default_rng(0))
