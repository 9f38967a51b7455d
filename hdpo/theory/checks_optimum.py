"""Rows of the theory table on Proposition 2: the optimum, its limit, rejection sampling and distillation."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy import stats
from scipy.special import logsumexp

from hdpo.theory import distillation, optimal_policy, rejection, token_level
from hdpo.theory.bandit import condition_on_success, example_bandit, success_probability
from hdpo.theory.divergences import log_softmax, total_variation
from hdpo.theory.statements import ERROR_RATE, EXACT, SEARCH, row

BETAS = 10.0 ** np.arange(-6, 5)  # eleven values over ten decades
Solver = Callable[[float], np.ndarray]  # log π [A] at one β
INTERIOR_BETAS = np.array([0.2, 1.0, 10.0, 100.0, 1e3, 1e4])  # no optimal probability is tiny


def optimum_rows() -> list[dict]:
    """π*_β in closed form, compared with its value, two kinds of gradient ascent and two convex solvers."""
    bandit = example_bandit()
    ref, reward = bandit.student_logp(), bandit.reward
    success = success_probability(ref, reward)

    def closed(beta: float) -> np.ndarray:
        return optimal_policy.optimal_log_policy(ref, reward, beta)

    def against(name: str, what: str, betas: Iterable[float], tolerance: float, solve: Solver) -> dict:
        worst = max(float(total_variation(solve(beta), closed(beta))) for beta in betas)
        return row("prop-2.optimum", f"TV to {what}", 0, worst, tolerance, name=name)

    reached = {b: optimal_policy.objective(closed(b), ref, reward, b) for b in BETAS}
    off = max(abs(reached[b] / optimal_policy.optimal_value(success, b) - 1) for b in BETAS)
    ascent, interior, dual = optimal_policy.gradient_ascent, optimal_policy.convex_solver, optimal_policy.dual_solver
    whole, plain = "worst of β = 1e-6 … 1e4", "plain gradient ascent, worst of β = 1, 10"
    natural = f"natural-gradient ascent, {whole}"
    barrier = "an interior-point solver, worst of β = 0.2 … 1e4"
    return [
        row("prop-2.optimum", f"objective at π*_β over β log Z, {whole}", 1, 1 + off, EXACT, name="value"),
        against("natural-gradient", natural, BETAS, SEARCH, lambda b: ascent(ref, reward, b)[0]),
        against("plain-gradient", plain, [1.0, 10.0], SEARCH, lambda b: ascent(ref, reward, b, natural=False)[0]),
        against("interior-point", barrier, INTERIOR_BETAS, SEARCH, lambda b: interior(ref, reward, b)),
        against("dual", f"the root of the Lagrange dual, {whole}", BETAS, EXACT, lambda b: dual(ref, reward, b)),
    ]


def limit_rows() -> list[dict]:
    """β → 0+: total variation to π_ref(·|R=1), its rate, and the odds RL keeps on the way."""
    bandit = example_bandit()
    ref, reward = bandit.student_logp(), bandit.reward
    success, correct, target = success_probability(ref, reward), reward == 1, bandit.target_logp()
    log_tv = {b: optimal_policy.log_tv_to_target(success, b) for b in BETAS}
    policies = {b: optimal_policy.optimal_log_policy(ref, reward, b) for b in BETAS}
    wrong_mass = {b: logsumexp(policies[b][~correct]) for b in BETAS}  # log of the TV, without rounding to 0
    off_log = max(abs(wrong_mass[b] / log_tv[b] - 1) for b in BETAS)
    summable = [b for b in BETAS if b >= 0.1]  # below, TV is lost in the rounding of the target
    off_tv = max(abs(total_variation(policies[b], target) / np.exp(log_tv[b]) - 1) for b in summable)
    small = [b for b in BETAS if b <= 1e-2]
    rate = np.polyfit([1 / b for b in small], [wrong_mass[b] for b in small], 1)[0]
    odds = max(np.abs(np.expm1(np.diff(policies[b][correct]) - np.diff(ref[correct]))).max() for b in BETAS)
    summed = "summed TV over (1−p)/((1−p)+p e^{1/β}), worst of β = 0.1 … 1e4"
    hinted = max(total_variation(bandit.teacher_logp([1 / b, 0]), policies[b]) for b in BETAS if b >= 0.05)
    return [
        row("prop-2.limit", summed, 1, 1 + off_tv, EXACT, name="summed"),
        row("prop-2.limit", "log TV over its closed form, worst of β = 1e-6 … 1e4", 1, 1 + off_log, EXACT, name="log"),
        row("prop-2.limit", "slope of log TV against 1/β, β = 1e-6 … 1e-2", -1, rate, EXACT, name="rate"),
        row("prop-2.odds", "largest relative change", 0, odds, EXACT),
        row("prop-2.hint", "TV, worst of β = 0.1 … 1e4", 0, hinted, EXACT, limits=True),
    ]


def rejection_rows() -> list[dict]:
    """R = 1 rejection sampling: rate, fit and cost, each tested at the error rate of the table."""
    bandit, rng = example_bandit(), np.random.default_rng(1)
    ref, target, reward = bandit.student_logp(), bandit.target_logp(), bandit.reward
    curve = rejection.convergence(ref, reward, [100, 400, 1600, 6400], 200, rng)
    slope, half_width = rejection.fit_slope(curve, ERROR_RATE)
    p_values = rejection.goodness_of_fit(ref, reward, target, 1000, 1000, rng)
    distance, critical = rejection.uniformity(p_values, ERROR_RATE)
    tilted = condition_on_success(log_softmax(ref + 0.3 * np.eye(ref.size)[0]), reward)
    wrong = rejection.goodness_of_fit(ref, reward, tilted, 1000, 200, rng)
    wrong_distance, wrong_critical = rejection.uniformity(wrong, ERROR_RATE)
    success, n_accept = success_probability(ref, reward), 50_000
    cost = rejection.rejection_sample(ref, reward, n_accept, rng)[1] / n_accept
    spread = np.sqrt((1 - success) / n_accept) / success  # of the mean of geometric waits
    margin = stats.norm.ppf(1 - ERROR_RATE / 2) * spread
    return [
        row("prop-2.rejection", "slope of log TV on log n, 200 repetitions", -0.5, slope, half_width, name="rate"),
        row("prop-2.rejection", "KS distance of 1000 χ² p-values from uniform", 0, distance, critical, name="fit"),
        row("prop-2.fit-test", "KS distance of 200 p-values", wrong_critical, wrong_distance, 0, "at least"),
        row("prop-2.cost", "proposals per accepted draw", 1 / success, cost, margin),
    ]


def distillation_rows() -> list[dict]:
    """What minimising each divergence to the filtered teacher finds, for able and for limited students."""
    bandit, rng = example_bandit(), np.random.default_rng(2)
    target = condition_on_success(bandit.teacher_logp([3.0, 1.0]), bandit.reward)
    soft = optimal_policy.optimal_log_policy(bandit.teacher_logp([3.0, 1.0]), bandit.reward, 0.2)
    line, rows = distillation.limited_problem(), []
    for divergence in ("forward KL", "JSD"):
        able = distillation.distil(target, divergence)
        limited = distillation.distil(line.target_logp, divergence, line.features, line.starts)
        distances = {"able": total_variation(able, target), "limited": total_variation(limited, line.target_logp)}
        quantity, name = f"TV after minimising {divergence}", divergence.lower().replace(" ", "-")
        rows += [row(f"distillation.{who}", quantity, 0, tv, SEARCH, name=name) for who, tv in distances.items()]
        if divergence == "forward KL":
            gap = np.abs(line.features.T @ (np.exp(limited) - np.exp(line.target_logp))).max()
            rows.append(row("distillation.means", "largest difference", 0, gap, SEARCH))
    positive = total_variation(distillation.distil(soft, "reverse KL"), soft)
    rows.append(row("distillation.reverse-kl", "TV", 0, positive, SEARCH, limits=True))
    first, second = token_level.random_teacher(4, rng)
    reward = np.isin(np.arange(16), [1, 6, 7]).astype(float)
    teacher_success = success_probability(token_level.sequence_logp(first, second), reward)
    tables = token_level.distil_token_level(first, second, reward)
    by_token = success_probability(token_level.sequence_logp(*tables), reward)
    by_sequence = success_probability(token_level.distil_sequence_level(first, second, reward), reward)
    return [
        *rows,
        row("distillation.sequences", "success", 1, by_sequence, SEARCH),
        row("distillation.tokens", "success", 1, by_token, SEARCH),
        row("distillation.minimiser", "success over p_T", 1, by_token / teacher_success, SEARCH),
    ]


def rows() -> list[dict]:
    """All rows of this file."""
    return [*optimum_rows(), *limit_rows(), *rejection_rows(), *distillation_rows()]
