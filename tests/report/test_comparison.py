"""Methods side by side and their tuning, on a made-up study: numbers by hand, and what is left out."""

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.results import Results
from hdpo.report.comparison import OUTCOMES, RATIOS, cost_rows, gain_rows, rank_rows, write_comparison
from hdpo.report.comparison_curves import TOKENS, curve_rows, spent
from hdpo.report.comparison_figure import GRPO_LONGER, unbeaten
from hdpo.report.tuning import tuning_frame, write_tuning
from hdpo.stats.power import holm
from hdpo.system.errors import UserError
from helpers.synthetic import CHANGES, make_results, make_study, write_final, write_metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with a planted effect that grows with λ; one run lacks a seed."""
    return make_results(tmp_path_factory.mktemp("made"), 0.02, (("hdpo-frozen-1", 2),))


def test_gains_are_paired_differences(results):
    found = gain_rows(results).set_index(["run", "outcome"])
    scores = results.scores("test", "pass@8")
    by_seed = [np.mean(scores["hdpo-drifting-1"][seed] - scores["grpo"][seed]) for seed in (1, 2, 3)]
    assert found.loc[("hdpo-drifting-1", "pass@8"), "diff"] == pytest.approx(np.mean(by_seed))
    assert set(found.index.get_level_values("outcome")) == set(OUTCOMES) - {"pass@64"}  # of 16 samples
    assert "grpo" not in found.index.get_level_values("run")
    assert found.loc[("hdpo-frozen-1", "greedy"), "seeds"] == 2


def test_costs_are_ratios_of_whole_runs_on_the_same_seeds(results):
    found = cost_rows(results).set_index("run")
    assert found.loc["grpo", ["generated", "seconds"]].tolist() == [1.0, 1.0]
    metrics = [results.reader.metrics("hdpo-frozen-1", seed) for seed in (1, 3)]
    privileged = sum(frame["tokens.privileged"].sum() for frame in metrics)
    steps = sum(map(len, metrics))
    assert found.loc["hdpo-frozen-1", "generated"] == pytest.approx(1 + privileged / (1000 * steps))
    assert found[["forward", "backward"]].isna().all(axis=None)  # not in the records of earlier versions
    assert list(found.columns) == ["seeds", *RATIOS]


def test_grpo_with_other_steps_is_a_row_among_the_methods(results, tmp_path):
    study = make_study(tmp_path, name="longer", methods=["grpo"], seeds=[2, 3, 4])
    for seed, right in ((2, 1), (3, 1), (4, 0)):
        write_final(study, "grpo", seed, np.full(60, right), np.full((60, 16), right))
        write_metrics(study, "grpo", seed)
    longer = Results(study)
    row = gain_rows(results, longer).set_index(["run", "outcome"]).loc[(GRPO_LONGER, "greedy")]
    scores = results.scores("test", "greedy")["grpo"]
    assert row["seeds"] == 2 and row["diff"] == pytest.approx(np.mean([1 - scores[seed] for seed in (2, 3)]))
    assert cost_rows(results, longer).set_index("run").loc[GRPO_LONGER, "generated"] == pytest.approx(1)
    other = make_study(
        tmp_path, name="other", methods=["grpo"], task={"problems": CHANGES["task"]["problems"] | {"test": 59}}
    )
    with pytest.raises(UserError, match="test on different problems"):
        gain_rows(results, Results(other))


def test_the_chance_of_being_best_adds_up_and_follows_the_effect(results):
    found = rank_rows(results)
    for _, part in found.groupby("outcome"):
        assert part["best"].sum() == pytest.approx(1) and set(part["seeds"]) == {2}  # the seeds that all share
        ranks = part["rank"].sum()
        assert ranks == pytest.approx(len(part) * (len(part) + 1) / 2)
    pass8 = found[found["outcome"] == "pass@8"].set_index("run")["best"]
    assert pass8.idxmax() == "hdpo-drifting-1" and pass8["grpo"] == 0


def test_curves_hold_means_over_seeds_and_all_tokens_until_then(results):
    found = curve_rows(results).set_index(["run", "step"])
    scores = [results.training["hdpo-frozen-1", seed]["validation"].means("pass@8")[1] for seed in (1, 3)]
    assert found.loc[("hdpo-frozen-1", 20), "pass@8"] == pytest.approx(np.mean(scores))
    later = found[found.index.get_level_values("step") > 0]
    assert later["tokens"].isna().all()  # records of earlier versions do not hold all of them
    assert found.loc[("grpo", 0), "tokens"] == 0
    columns = {name: [number] * 4 for name, number in zip(TOKENS, (1, 10, 100, 1000), strict=True)}
    frame = pd.DataFrame({"step": [0, 1, 2, 3]} | columns)
    assert spent(frame, np.array([1, 4])).tolist() == [1111, 4444]


def test_the_front_names_what_no_method_beats_in_both():
    part = pd.DataFrame({"pass@8": [3.0, 1.0, 2.0], "greedy": [1.0, 2.0, 0.5]}, index=["a", "b", "c"])
    assert [unbeaten(part, run) for run in part.index] == [True, True, False]


def test_everything_is_written_twice_alike(results):
    out = write_comparison([results.study]).parent
    before = {path: path.read_bytes() for path in sorted(out.iterdir())}
    tables = {"comparison.csv", "costs.csv", "ranks.csv", "curves.csv", "comparison.json", "comparison.md"}
    figures = {f"{name}.{kind}" for name in ("comparison", "front", "curves") for kind in ("pdf", "png")}
    assert {path.name for path in before} == tables | figures
    gains = pd.read_csv(out / "comparison.csv")
    tested = gains["outcome"].isin(["greedy", "pass@8"])
    assert gains.loc[tested, "p_holm"].tolist() == pytest.approx(
        holm(gains.loc[tested, "p"].to_numpy()).tolist(), abs=1e-5
    )
    assert gains.loc[~tested, "p_holm"].isna().all()
    write_comparison([results.study])
    assert {path: path.read_bytes() for path in sorted(out.iterdir())} == before
    assert "hinted rollouts" in (out / "comparison.md").read_text(encoding="utf-8")


def test_the_rule_chooses_one_value_of_each_method_from_validation_problems(results):
    frame = tuning_frame(results)
    assert frame.groupby("family")["chosen"].sum().to_dict() == {"hdpo-drifting": 1, "hdpo-frozen": 1}
    scores = results.scores("last", "greedy")
    by_seed = [np.mean(scores["hdpo-drifting-1"][seed] - scores["grpo"][seed]) for seed in (1, 2, 3)]
    row = frame.set_index("run").loc["hdpo-drifting-1"]
    assert row["greedy"] == pytest.approx(np.mean(by_seed)) and row["mean"] == pytest.approx(
        (row["greedy"] + row["pass@8"]) / 2
    )
    assert frame.set_index("run")["edge"].to_dict() == {run: not run.endswith("-0.1") for run in frame["run"]}
    best = frame.loc[frame.groupby("family")["mean"].idxmax(), "run"]
    assert set(frame[frame["chosen"]]["run"]) == set(best)
    assert pd.read_csv(write_tuning(results.study).with_suffix(".csv"))["chosen"].sum() == 2


def test_a_study_that_is_not_run_has_empty_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path)
    empty = Results(study)
    assert gain_rows(empty).empty and cost_rows(empty).empty and rank_rows(empty).empty and tuning_frame(empty).empty
    write_comparison([study])
    write_tuning(study)
