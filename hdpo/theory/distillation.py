"""What a softmax student converges to when it minimises a divergence to the filtered teacher.

    forward KL   KL(T ‖ S)      the mean-seeking one: imitation of the filtered rollouts
    reverse KL   KL(S ‖ T)      the mode-seeking one; infinite where T is 0 and S is not
    JSD          ½ KL(T ‖ M) + ½ KL(S ‖ M), M = (T + S)/2: the paper's L_JSD (section 3.2)

Student logits are F w, features F [A, D] times weights w [D]. F = identity can express every distribution
with full support, and the filtered teacher (zero on wrong arms) as a limit.

Trajectories of more than one token. Proposition 2 is about whole trajectories: the teacher's samples *after* the
R = 1 filter. The loss (section 3.2, Algorithm 1) compares next-token distributions along the filtered trajectories,

    Σ_t JSD( π_T(·| x ⊕ y*, ȳ_<t) ‖ π_θ(·| x, ȳ_<t) ),

and π_T there is the teacher *before* the filter (fixed here; a drifting teacher moves meanwhile). The
smallest case where both can be enumerated: two tokens from a vocabulary V, teacher tables `first_logp`
[V] and `second_logp` [V, V] (row: first token).
"""

import numpy as np
import pandas as pd
from scipy.optimize import least_squares, minimize

from hdpo.system.errors import UserError
from hdpo.theory.bandit import condition_on_success, example_bandit, success_probability
from hdpo.theory.divergences import jsd, kl, log_softmax, require_logp, total_variation
from hdpo.theory.optimal_policy import optimal_log_policy
from hdpo.theory.statements import SEARCH, row

DIVERGENCES = ("forward KL", "reverse KL", "JSD")


def divergence_and_gradient(name: str, target_logp: np.ndarray, logits: np.ndarray) -> tuple[float, np.ndarray]:
    """The divergence `name` between target T [A] and student softmax(logits), and its logit gradient [A].

    With g_k = ∂D/∂S_k the gradient is S_k (g_k − Σ_j S_j g_j). For forward KL that is S − T.
    Raises UserError for an unknown name, and for reverse KL to a target with a zero, where it is infinite.
    """
    logp = log_softmax(logits)
    student = np.exp(logp)
    if name == "forward KL":
        return float(kl(target_logp, logp)), student - np.exp(target_logp)
    if name == "JSD":
        value, slope = jsd(target_logp, logp), 0.5 * (logp - np.logaddexp(logp, target_logp) + np.log(2.0))
    elif name != "reverse KL":
        raise UserError(f"divergence must be one of {', '.join(DIVERGENCES)}, got {name!r}")
    elif np.isneginf(target_logp).any():
        raise UserError(
            "reverse KL to a filtered teacher is infinite for every softmax student: the target must be "
            "positive on every arm (for example π*_β instead of its limit)"
        )
    else:
        value, slope = kl(logp, target_logp), logp - target_logp
    return float(value), student * (slope - student @ slope)


def distil(target_logp: np.ndarray, name: str, features: np.ndarray | None = None) -> np.ndarray:
    """The student log π_S [A] that minimises the divergence `name`, found with exact gradients.

    A student without `features` F [A, D] can express everything and starts from uniform. With features there may be
    several minima: the best one from eight random starts counts. BFGS gets to gradients of about 1e-8, and least
    squares on the gradient from there to rounding. Raises UserError if `target_logp` is not normalised.
    """
    target_logp = require_logp("teacher", target_logp)
    starts = np.zeros((1, target_logp.size))
    if features is None:
        features = np.eye(target_logp.size)
    else:
        starts = 3 * np.random.default_rng(0).normal(size=(8, features.shape[1]))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = divergence_and_gradient(name, target_logp, features @ weights)
        return value, features.T @ gradient

    found = [minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10}).x for start in starts]
    polished = [least_squares(lambda weights: loss(weights)[1], w, xtol=1e-15, ftol=1e-15, gtol=1e-15).x for w in found]
    return log_softmax(features @ min(polished, key=lambda weights: loss(weights)[0]))


def limited_problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reward [A], target log-probabilities [A] and student features [A, 2] on a line of A = 21 arms.

    Correct arms form two separate groups, so the filtered teacher has two modes. The features are the position and its
    square, so a student's distribution is a bell shape.
    """
    position = np.linspace(-1.0, 1.0, 21)
    reward = np.isin(np.arange(21), [4, 5, 15, 16]).astype(np.float64)
    target = condition_on_success(log_softmax(-(position**2)), reward)
    return reward, target, np.stack([position, position**2], axis=1)


def limited_students() -> pd.DataFrame:
    """Bell-shaped students of a two-mode teacher: columns who, arm, probability, success.

    Reverse KL, infinite to the filtered teacher, is minimised to π*_β with β = 0.15.
    """
    reward, target, features = limited_problem()
    soft = optimal_log_policy(log_softmax(-features[:, 1]), reward, 0.15)
    students = {"filtered teacher": np.exp(target)}
    for name in DIVERGENCES:
        students[name] = np.exp(distil(soft if name == "reverse KL" else target, name, features))
    parts = {who: pd.DataFrame({"probability": p, "success": p @ reward}) for who, p in students.items()}
    return pd.concat(parts, names=["who", "arm"]).reset_index()


def random_teacher(n_tokens: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Teacher tables (`first_logp` [V], `second_logp` [V, V]) with standard normal logits."""
    return log_softmax(rng.normal(size=n_tokens)), log_softmax(rng.normal(size=(n_tokens, n_tokens)))


def sequence_logp(first_logp: np.ndarray, second_logp: np.ndarray) -> np.ndarray:
    """log π of the V·V two-token trajectories, [V·V]. Raises UserError if a table is not normalised."""
    return (require_logp("first token", first_logp)[:, None] + require_logp("second token", second_logp)).ravel()


def distil_token_level(
    first_logp: np.ndarray, second_logp: np.ndarray, reward: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the expected token-level JSD by search; return the student's two tables.

    The loss is a weighted sum over prefixes and the student is free at each, so each is minimised alone.
    A prefix no filtered rollout visits gets no gradient and stays at the uniform start. Raises UserError if no
    trajectory of positive probability is correct.
    """
    filtered = condition_on_success(sequence_logp(first_logp, second_logp), reward).reshape(second_logp.shape)
    second = np.full(second_logp.shape, -np.log(second_logp.shape[1]))
    for token in np.flatnonzero((filtered > -np.inf).any(axis=1)):
        second[token] = distil(second_logp[token], "JSD")
    return distil(first_logp, "JSD"), second


def distil_sequence_level(first_logp: np.ndarray, second_logp: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Minimise forward KL to the filtered trajectories by search (imitation); return log π_S [V·V]."""
    return distil(condition_on_success(sequence_logp(first_logp, second_logp), reward), "forward KL")


def distillation_rows() -> list[dict]:
    """What minimising each divergence to the filtered teacher finds, for able and for limited students."""
    bandit, (_, two_modes, features), rows = example_bandit(), limited_problem(), []
    teacher = bandit.teacher_logp([3.0, 1.0])
    target, soft = condition_on_success(teacher, bandit.reward), optimal_log_policy(teacher, bandit.reward, 0.2)
    for divergence in ("forward KL", "JSD"):
        limited = distil(two_modes, divergence, features)
        able = total_variation(distil(target, divergence), target)
        distances = {"able": able, "limited": total_variation(limited, two_modes)}
        quantity, name = f"TV after minimising {divergence}", divergence.lower().replace(" ", "-")
        rows += [row(f"distillation.{who}", quantity, 0, tv, SEARCH, name=name) for who, tv in distances.items()]
        if divergence == "forward KL":
            gap = np.abs(features.T @ (np.exp(limited) - np.exp(two_modes))).max()
            rows.append(row("distillation.means", "largest difference", 0, gap, SEARCH))
    positive = total_variation(distil(soft, "reverse KL"), soft)
    first, second = random_teacher(4, np.random.default_rng(2))
    reward = np.isin(np.arange(16), [1, 6, 7]).astype(float)
    teacher_success = success_probability(sequence_logp(first, second), reward)
    by_token = success_probability(sequence_logp(*distil_token_level(first, second, reward)), reward)
    by_sequence = success_probability(distil_sequence_level(first, second, reward), reward)
    return [
        *rows,
        row("distillation.reverse-kl", "TV", 0, positive, SEARCH, limits=True),
        row("distillation.sequences", "success", 1, by_sequence, SEARCH),
        row("distillation.tokens", "success", 1, by_token, SEARCH),
        row("distillation.minimiser", "success over p_T", 1, by_token / teacher_success, SEARCH),
    ]
