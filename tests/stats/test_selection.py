"""Best of E evaluations: closed forms, quadrature and simulation against each other; a study's curves by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from hdpo.claims.results import Results
from hdpo.report.curve_selection import curve_selection, detrended, lag_one, noise_sd, optimism
from hdpo.stats.selection import Difficulty, fit_difficulty, maximum_moments
from helpers.synthetic import make_study, write_everything, write_training


def simulated_maximum(
    evaluations: int, correlation: float, draws: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Mean and standard deviation of the maximum of E unit-normal evaluations (AR(1)), by simulation."""
    noise = generator.normal(size=(evaluations, draws))
    curve = noise[0]
    best = curve.copy()
    for shock in noise[1:]:
        curve = correlation * curve + np.sqrt(1 - correlation**2) * shock
        np.maximum(best, curve, out=best)
    return float(best.mean()), float(best.std())


def simulated_best(
    chance: np.ndarray, k: int, evaluations: int, draws: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Mean excess over the true score, and standard deviation, of the best of E evaluations by any of k.

    Every evaluation draws k samples of each of the Q problems with chances [Q]; the weights never change.
    """
    solved = 1 - (1 - np.asarray(chance)) ** k
    best = np.array([(generator.random((evaluations, solved.size)) < solved).mean(axis=1).max() for _ in range(draws)])
    return float(best.mean() - solved.mean()), float(best.std())


def test_maximum_of_independent_evaluations_by_known_values():
    mean, sd = maximum_moments(200)
    assert mean[0] == pytest.approx(0, abs=1e-6) and sd[0] == pytest.approx(1, abs=1e-6)
    assert mean[1] == pytest.approx(1 / np.sqrt(np.pi)) and sd[1] == pytest.approx(np.sqrt(1 - 1 / np.pi))
    assert mean[2] == pytest.approx(1.5 / np.sqrt(np.pi))
    assert mean[99] == pytest.approx(2.50759, abs=1e-5)  # tables of normal order statistics
    x = np.linspace(-9, 9, 200_001)
    density = 200 * norm.pdf(x) * norm.cdf(x) ** 199
    assert mean[199] == pytest.approx(np.trapezoid(x * density, x), abs=1e-5)
    assert sd[199] == pytest.approx(np.sqrt(np.trapezoid((x - mean[199]) ** 2 * density, x)), abs=1e-5)


def test_two_correlated_evaluations_in_closed_form():
    # The larger of two unit normals with correlation ρ has mean sqrt((1 − ρ)/π).
    for correlation in (0.3, 0.9, 0.99):
        assert maximum_moments(2, correlation)[0][1] == pytest.approx(np.sqrt((1 - correlation) / np.pi), abs=2e-4)


@pytest.mark.parametrize(("evaluations", "correlation"), [(10, 0.0), (10, 0.5), (50, 0.9), (60, 0.99)])
def test_quadrature_agrees_with_simulation(evaluations, correlation):
    mean, sd = maximum_moments(evaluations, correlation)
    simulated = simulated_maximum(evaluations, correlation, 40_000, np.random.default_rng(0))
    assert (mean[-1], sd[-1]) == pytest.approx(simulated, abs=0.015)


def test_bias_grows_with_evaluations_and_falls_with_correlation():
    free, tied = maximum_moments(30)[0], maximum_moments(30, 0.9)[0]
    assert (np.diff(free) > 0).all() and (np.diff(tied) > 0).all() and (tied[1:] < free[1:]).all()
    spread = maximum_moments(200)[1]
    assert (np.diff(spread) < 0).all()  # selection narrows the noise that it biases


def test_difficulty_by_sampling():
    hard = Difficulty(0.34, 0.2)
    chance = hard.draw(400_000, np.random.default_rng(1))
    solved = 1 - (1 - chance) ** 4
    assert hard.pass_at(4) == pytest.approx(solved.mean(), abs=2e-3)
    assert hard.noise(4, 2048) == pytest.approx(np.sqrt((solved * (1 - solved)).mean() / 2048), rel=0.01)
    rng = np.random.default_rng(2)
    first, second = (rng.random(solved.size) < solved for _ in range(2))
    assert hard.correlation(4) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=5e-3)


def test_fitted_difficulty_has_the_scores_asked_for():
    found = fit_difficulty(4, 0.7749, 8, 0.8228)
    assert (found.pass_at(4), found.pass_at(8)) == pytest.approx((0.7749, 0.8228))
    with pytest.raises(ValueError, match="no beta distribution"):
        fit_difficulty(4, 0.8, 8, 0.7)


def test_best_of_many_evaluations_of_real_outcomes_agrees_with_the_order_statistics():
    """0-or-1 outcomes of fixed problems with weights that never change: bias and spread of the reported best."""
    hard, rng = Difficulty(0.34, 0.2), np.random.default_rng(3)
    chance = hard.draw(256, rng)
    solved = 1 - (1 - chance) ** 8
    noise = np.sqrt((solved * (1 - solved)).mean() / 256)
    mean, sd = maximum_moments(40)
    bias, spread = simulated_best(chance, 8, 40, 600, rng)
    assert bias == pytest.approx(noise * mean[-1], rel=0.06)
    assert spread == pytest.approx(noise * sd[-1], rel=0.12)
    once, _ = simulated_best(chance, 8, 1, 600, rng)
    assert abs(once) < 4 * noise / np.sqrt(600)


def test_optimism_by_hand():
    # Validation .5, .7, .6 (mean .6): the best leads by .1. There development stands at .4, its mean is .5: −.1.
    assert optimism(np.array([0.5, 0.7, 0.6]), np.array([0.5, 0.4, 0.6])) == pytest.approx(0.2)
    rise = np.linspace(0.2, 0.6, 5)
    assert optimism(rise, rise + 0.1) == pytest.approx(0)  # a rise that both show is no luck


def test_optimism_is_the_bias_on_average_for_flat_curves():
    rng = np.random.default_rng(4)
    validation, development = rng.normal(0, 0.02, (2, 4000, 6))
    found = np.mean([optimism(*pair) for pair in zip(validation, development, strict=True)])
    assert found == pytest.approx(0.02 * maximum_moments(6)[0][-1], rel=0.04)


def test_noise_and_autocorrelation_of_curves():
    rise = np.linspace(0, 1, 40)
    assert noise_sd(rise) == pytest.approx(0, abs=1e-12) and np.isnan(noise_sd(rise[:2]))
    assert detrended(np.array([0.0, 1.0, 0.0])) == pytest.approx([-1 / 3, 2 / 3, -1 / 3])
    rng = np.random.default_rng(5)
    assert np.mean([noise_sd(rise + rng.normal(0, 0.1, 40)) ** 2 for _ in range(500)]) == pytest.approx(0.01, rel=0.05)
    curve = np.zeros(2000)
    for e in range(1, 2000):
        curve[e] = 0.7 * curve[e - 1] + rng.normal()
    assert lag_one(curve) == pytest.approx(0.7, abs=0.06)
    assert np.isnan(lag_one(curve[:5]))


def test_selection_table_of_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path)
    assert curve_selection(Results(study)).empty
    write_everything(study, effect=0.02, missing=(("hdpo-frozen-1", 2),))
    table = curve_selection(Results(study))
    assert set(table["run"]) == set(study.runs) and (table["evaluations"] == 4).all()
    assert (table["best"] >= table[["last", "selected"]].max(axis=1) - 1e-12).all()
    assert table.query("run == 'hdpo-frozen-1'")["seeds"].eq(2).all()
    assert table["lag1"].isna().all() and (table["expected"] >= 0).all()


def test_selection_table_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(
        tmp_path,
        seeds=[1],
        task={"problems": {"train": 16, "development": 2, "validation": 2, "test": 2}},
        train={"steps": 30},
        evaluate={"every": 10, "samples": 4, "test_samples": 4, "ks": [1, 4]},
    )
    samples = np.zeros((2, 4), int)
    right = {"validation": [1, 2, 1], "development": [1, 0, 2]}  # of two, at steps 10, 20, 30
    outcomes = {
        (split, 10 * i): ((np.arange(2) < count).astype(int), samples)
        for split, counts in right.items()
        for i, count in enumerate(counts, start=1)
    }
    write_training(study, "grpo", 1, outcomes)
    row = curve_selection(Results(study)).query("metric == 'greedy'").iloc[0]
    assert (row["best"], row["last"], row["selected"]) == (1.0, 0.5, 0.5)
    # Validation ½, 1, ½ leads by 1 − 2/3; development stands at 0 there, ½ below its mean.
    assert row["optimism"] == pytest.approx(1 / 3 + 1 / 2)
    assert row["noise"] == pytest.approx(np.sqrt(3 * (1 / 6) ** 2 + (1 / 6) ** 2 * 3))
