"""Where gains come from, on a made-up study: numbers by hand, missing parts, and what the figure says."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from hdpo.claims.results import Results
from hdpo.report.gains import arm_frame, gain_frame, with_holm, write_gains
from hdpo.report.gains_figure import CLASSES, gains_figure, message
from hdpo.stats.paired import estimate
from hdpo.stats.power import holm
from helpers.studies import hdpo
from helpers.synthetic import make_results, make_study, write_everything


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with a planted effect; one run lacks a seed, and one is not there."""
    missing = (("hdpo-frozen-1", 2), *(("hdpo-frozen-0.1", seed) for seed in (1, 2, 3)))
    return make_results(tmp_path_factory.mktemp("made"), 0.02, missing)


def test_differences_by_kind_of_problem_by_hand(results):
    frame = gain_frame(results).set_index(["run", "subset", "metric"])
    base, scores = results.final[("base", 0)], results.scores("test", "pass@8")
    masks = {
        "all": np.full(60, True),
        "size 2": base.difficulty == 2,
        "base never": base.hits == 0,
        "base rarely": base.hits == 1,  # of 16 tries
        "base often": base.hits > 1,
    }
    for subset, mask in masks.items():
        D = np.stack([scores["hdpo-drifting-1"][seed] - scores["grpo"][seed] for seed in (1, 2, 3)])[:, mask]
        row, found = frame.loc[("hdpo-drifting-1", subset, "pass@8")], estimate(D[None])
        assert row["problems"] == mask.sum() and row["diff"] == pytest.approx(D.mean())
        assert (row["low"], row["high"]) == pytest.approx(tuple(end[0] for end in found.interval()))
        assert row["adds"] == pytest.approx(D.mean() * mask.sum() / 60)
    assert "hdpo-frozen-0.1" not in frame.index and frame.loc[("hdpo-frozen-1", "all", "greedy"), "seeds"] == 2


def test_classes_add_up_to_the_whole(results):
    adds = gain_frame(results).pivot(index=["run", "metric"], columns="subset", values="adds")
    assert adds[list(CLASSES)].sum(axis=1).to_numpy() == pytest.approx(adds["all"].to_numpy())
    assert adds[["size 2", "size 3"]].sum(axis=1).to_numpy() == pytest.approx(adds["all"].to_numpy())


def test_holm_is_over_all_problems_without_pass_at_1(results):
    frame = gain_frame(results)
    family = frame[frame["p_holm"].notna()]
    assert len(family) == 5 * 3 and set(family["subset"]) == {"all"} and "pass@1" not in set(family["metric"])
    assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()))
    doubled = with_holm(pd.concat([frame, frame], ignore_index=True))
    assert doubled["p_holm"].min() == pytest.approx(min(1, 30 * frame.loc[family.index, "p"].min()))


def test_arms_by_hand(results):
    final = results.final.copy()
    for (run, seed), outcomes in final.items():
        details = {"distinct": np.arange(60.0), "echoes": np.full(60, 4.0 * (run == "grpo"))}
        details |= {"length": np.full(60, 5.0 + seed), "entropy": np.full(60, 0.25)}
        final[(run, seed)] = replace(outcomes, details=details)
    hard = final[("base", 0)].hits == 0
    solved = replace(final[("grpo", 1)], hits=np.where(hard, 0, 1), tries=np.full(60, 64))  # in none of 64 tries
    other = Results.__new__(Results)
    vars(other).update(vars(results), final=final | {("grpo", 1): solved})
    table = arm_frame(other).set_index("run")
    assert list(table.index) == ["base", *(run for run in results.runs if run != "hdpo-frozen-0.1")]
    seeds = [final[("grpo", seed)].hits[hard] > 0 for seed in (2, 3)]
    assert table.loc["grpo", "value"] == pytest.approx(np.mean(seeds) * 2 / 3) and table.loc["base", "value"] == 0
    assert (table["hard"] == hard.sum()).all() and np.isnan(table.loc["base", "diff_value"])
    gained = table.loc["hdpo-drifting-1", "value"] - table.loc["grpo", "value"]
    assert table.loc["hdpo-drifting-1", "diff_value"] == pytest.approx(gained) and gained > 0
    assert table.loc["grpo", ["distinct", "echoes", "length", "entropy"]].tolist() == [29.5, 4 / 16, 7.0, 0.25]
    assert table.loc["grpo", "tries"] == 64


def test_distinct_solutions_of_more_samples_are_not_compared(results):
    final = results.final | {("base", 0): replace(results.final[("base", 0)], tries=np.full(60, 64))}
    other = Results.__new__(Results)
    vars(other).update(vars(results), final=final)
    assert arm_frame(other).set_index("run")["distinct"].isna().tolist() == [True, *[False] * 6]


def rows(adds: dict[str, float], p_holm: float) -> pd.DataFrame:
    """One run's pass@8 by class, and over all problems."""
    whole = {"subset": "all", "diff": sum(adds.values()), "adds": sum(adds.values()), "p_holm": p_holm}
    parts = [{"subset": f"base {name}", "diff": add, "adds": add, "p_holm": np.nan} for name, add in adds.items()]
    return pd.DataFrame([whole, *parts]).assign(run="hdpo-frozen-1", metric="pass@8", low=0.0, high=0.0, problems=9)


@pytest.mark.parametrize(
    ("adds", "p", "words"),
    [
        ({"never": 0.01, "rarely": 0.03, "often": 0.0}, 0.05, "come mostly from problems that the base model rarely"),
        ({"never": 0.02, "rarely": 0.02, "often": 0.03}, 0.01, "come more than elsewhere from problems that the base"),
        ({"never": 0.01, "rarely": 0.03, "often": 0.0}, 0.06, "No gain over GRPO in pass@8 is seen"),
        ({"never": -0.01, "rarely": 0.0, "often": -0.03}, 0.01, "No gain over GRPO in pass@8 is seen"),
        ({}, 0.01, "No gain over GRPO in pass@8 is seen"),  # a sum of nothing
    ],
)
def test_the_title_says_what_the_numbers_say(adds, p, words):
    assert words in message(rows(adds, p))


def test_without_classes_the_title_counts_the_gains():
    alone = rows({"often": 0.02}, 0.01).query("subset == 'all'")
    assert message(alone) == "1 of 1 methods gain on GRPO in pass@8"


def test_nothing_run_and_one_seed_are_written_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path, seeds=[1], methods=["grpo", hdpo("drifting")])
    paths = [path.name for path in write_gains(study)]
    assert paths == ["gains.csv", "gains.json", "gains.md", "gains_arms.csv", "gains.pdf", "gains.png"]
    assert pd.read_csv(study.root / "gains.csv").empty
    write_everything(study, effect=0.05)
    write_gains(study)
    frame = pd.read_csv(study.root / "gains.csv")
    assert frame["low"].isna().all() and frame["p"].isna().all() and frame["diff"].notna().all()
    again = {path: path.read_bytes() for path in write_gains(study)}
    assert {path: path.read_bytes() for path in write_gains(study)} == again


def test_the_figure_draws_any_arms_and_names_each_family(results):
    frame = gain_frame(results)
    named = frame.assign(run=frame["run"].replace({"hdpo-frozen-1": "toy-3+depth=2", "hdpo-frozen-0.01": "sft"}))
    figure = gains_figure(named, ["grpo", *named["run"].unique()])
    figure.canvas.draw()
    words = {text.get_text() for axis in figure.axes for text in axis.texts}
    assert words == {"drifting\nteacher", "toy", "sft"}
    ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert ticks == ["—", "0.01", "0.1", "1", "3, depth=2"]
    plt.close(figure)
