"""The data frames that the theory figures draw, each with fixed seeds; nothing here is plotted."""

import numpy as np
import pandas as pd

from hdpo.theory import bounds, cliff, distillation, escape, optimal_policy, proxy_gap, rejection
from hdpo.theory.bandit import example_bandit, make_bandit
from hdpo.theory.checks_bounds import model_pairs, random_logits
from hdpo.theory.checks_cliff import GOAL, GROUP_SIZE, SUCCESSES, TEACHERS, climb_settings
from hdpo.theory.divergences import kl_between_logits, log_softmax, total_variation


def cliff_curve(group_sizes: tuple[int, ...] = (4, 16, 64)) -> pd.DataFrame:
    """P(all G rollouts fail): columns success, group_size, probability."""
    grid = np.logspace(-4, -0.05, 80)
    rows = [(p, g, cliff.cliff_probability(p, g)) for g in group_sizes for p in grid]
    return pd.DataFrame(rows, columns=["success", "group_size", "probability"])


def wait_curve(repetitions: int = 100) -> pd.DataFrame:
    """Steps to the first non-zero update: columns method, success, formula, simulated (mean of runs)."""
    rng, rows = np.random.default_rng(20), []
    for method, teacher in TEACHERS.items():
        for p in SUCCESSES:
            waits = cliff.simulated_waits(p, GROUP_SIZE, repetitions, rng, block=256, **teacher)
            rows.append((method, p, cliff.expected_wait(p, GROUP_SIZE, **teacher), waits.mean()))
    return pd.DataFrame(rows, columns=["method", "success", "formula", "simulated"])


def climb_curve(lengths: tuple[int, ...] = (1, 8, 32), simulate_up_to: float = 5e3) -> pd.DataFrame:
    """Steps from p to 1/2: columns method, tokens, success, formula, simulated.

    `simulated` is one run's steps, missing for the HDPO runs whose formula exceeds `simulate_up_to`, which
    cannot be skipped through (see `escape.simulate_climb`).
    """
    rng, rows = np.random.default_rng(21), []
    for method in ("grpo", "hdpo"):
        for tokens in lengths:
            settings = climb_settings(method, tokens)
            for p in SUCCESSES:
                formula = escape.climb_time(method, p, GOAL, tokens, **settings)
                feasible = method == "grpo" or formula <= simulate_up_to
                run = escape.simulate_climb(method, p, GOAL, tokens, rng, **settings) if feasible else np.nan
                rows.append((method.upper(), tokens, p, formula, run))
    return pd.DataFrame(rows, columns=["method", "tokens", "success", "formula", "simulated"])


def limit_curve(successes: tuple[float, ...] = (0.3, 0.03, 0.001)) -> pd.DataFrame:
    """TV(π*_β, target): columns success, inverse_beta, formula, measured (by natural-gradient ascent)."""
    rows = []
    for p in successes:
        bandit = make_bandit(12, 4, p, np.random.default_rng(0))
        for inverse in np.linspace(0.5, 30, 16):
            found, _ = optimal_policy.gradient_ascent(bandit.student_logp(), bandit.reward, 1 / inverse)
            formula = np.exp(optimal_policy.log_tv_to_target(p, 1 / inverse))
            rows.append((p, inverse, formula, total_variation(found, bandit.target_logp())))
    return pd.DataFrame(rows, columns=["success", "inverse_beta", "formula", "measured"])


def rejection_curve() -> pd.DataFrame:
    """TV of n accepted draws to the target: columns repetition, n, tv."""
    bandit = example_bandit()
    sizes = [30, 100, 300, 1000, 3000, 10_000]
    return rejection.convergence(bandit.student_logp(), bandit.reward, sizes, 100, np.random.default_rng(22))


def fit_curve() -> pd.DataFrame:
    """χ² p-values of accepted draws against the target: column p_value."""
    bandit, rng = example_bandit(), np.random.default_rng(23)
    ref, target = bandit.student_logp(), bandit.target_logp()
    return pd.DataFrame({"p_value": rejection.goodness_of_fit(ref, bandit.reward, target, 1000, 500, rng)})


def limited_students() -> pd.DataFrame:
    """Bell-shaped students of a two-mode teacher: columns who, arm, probability, success.

    Reverse KL, infinite to the filtered teacher, is minimised to π*_β with β = 0.15.
    """
    line = distillation.limited_problem()
    position = line.features[:, 0]
    ref = log_softmax(-(position**2))
    targets = {"forward KL": line.target_logp, "JSD": line.target_logp}
    targets["reverse KL"] = optimal_policy.optimal_log_policy(ref, line.reward, 0.15)
    found = {"filtered teacher": line.target_logp}
    found |= {n: distillation.distil(t, n, line.features, line.starts) for n, t in targets.items()}
    return pd.DataFrame(
        [
            (who, arm, probability, np.exp(logp) @ line.reward)
            for who, logp in found.items()
            for arm, probability in enumerate(np.exp(logp))
        ],
        columns=["who", "arm", "probability", "success"],
    )


def proxy_curve() -> pd.DataFrame:
    """The proxy gap against leaked information, see `proxy_gap.gap_curve`."""
    return proxy_gap.gap_curve(example_bandit(), np.logspace(-2, np.log10(4.5), 25))


def tightness_curve() -> pd.DataFrame:
    """KL over (max δ − min δ)²/8: columns kind ("supremum", "adversarial", "random"), range, ratio."""
    rng = np.random.default_rng(24)
    rows = [("supremum", r, bounds.largest_kl(r)[0] / (r**2 / 8)) for r in np.logspace(-2, 1.5, 60)]
    for r in (0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0):
        z, delta = bounds.adversarial_logits(8, r, rng)
        rows.append(("adversarial", r, kl_between_logits(z, z + delta) / (r**2 / 8)))
    logits, shifted = random_logits(2000, 8, seed=25)
    ranges = np.ptp(shifted - logits, axis=-1)
    ratios = kl_between_logits(logits, shifted) / bounds.range_bound(logits, shifted)
    rows += [("random", r, ratio) for r, ratio in zip(ranges, ratios, strict=True) if 0.01 <= r <= 30]
    return pd.DataFrame(rows, columns=["kind", "range", "ratio"])


def pair_curve(n_pairs: int = 500) -> pd.DataFrame:
    """Proposition 1's quantities of random linear models, one row per pair, see `bounds.proposition1`."""
    return pd.DataFrame(model_pairs(n_pairs))
