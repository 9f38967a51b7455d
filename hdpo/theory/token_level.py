"""What the paper's loss pulls towards when a trajectory has more than one token.

Proposition 2 is about whole trajectories: the teacher's samples *after* the R = 1 filter. The loss
(section 3.2, Algorithm 1) compares next-token distributions along the filtered trajectories,

    Σ_t JSD( π_T(·| x ⊕ y*, ȳ_<t) ‖ π_θ(·| x, ȳ_<t) ),

and π_T there is the teacher *before* the filter (fixed here; a drifting teacher moves meanwhile). The
smallest case where both can be enumerated: two tokens from a vocabulary V, teacher tables `first_logp`
[V] and `second_logp` [V, V] (row: first token).
"""

import numpy as np

from hdpo.theory.bandit import condition_on_success
from hdpo.theory.distillation import distil
from hdpo.theory.divergences import log_softmax
from hdpo.theory.validate import require_logp


def random_teacher(n_tokens: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Teacher tables (`first_logp` [V], `second_logp` [V, V]) with standard normal logits."""
    return log_softmax(rng.normal(size=n_tokens)), log_softmax(rng.normal(size=(n_tokens, n_tokens)))


def sequence_logp(first_logp: np.ndarray, second_logp: np.ndarray) -> np.ndarray:
    """log π of the V·V two-token trajectories, [V·V]. Raises UserError if a table is not normalised."""
    return (require_logp("first token", first_logp)[:, None] + require_logp("second token", second_logp)).ravel()


def filtered_prefix_weights(first_logp: np.ndarray, second_logp: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """How often each first token occurs among R = 1 rollouts, [V]: the loss's weight on that prefix.

    Raises UserError if no trajectory of positive probability is correct.
    """
    filtered = np.exp(condition_on_success(sequence_logp(first_logp, second_logp), reward))
    return filtered.reshape(second_logp.shape).sum(axis=1)


def distil_token_level(
    first_logp: np.ndarray, second_logp: np.ndarray, reward: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the expected token-level JSD by search; return the student's two tables.

    The loss is a weighted sum over prefixes and the student is free at each, so each is minimised alone.
    A prefix no filtered rollout visits gets no gradient and stays at the uniform start.
    """
    second = np.full(second_logp.shape, -np.log(second_logp.shape[1]))
    for token in np.flatnonzero(filtered_prefix_weights(first_logp, second_logp, reward)):
        second[token] = distil(second_logp[token], "JSD")
    return distil(first_logp, "JSD"), second


def distil_sequence_level(first_logp: np.ndarray, second_logp: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Minimise forward KL to the filtered trajectories by search (imitation); return log π_S [V·V]."""
    return distil(condition_on_success(sequence_logp(first_logp, second_logp), reward), "forward KL")
