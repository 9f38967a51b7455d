"""From results to means, differences and verdicts."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.check import write_check
from hdpo.claims.overhead import overhead_steps
from hdpo.claims.reported import reported_facts, reported_scores
from hdpo.claims.results import Results, compare
from hdpo.claims.summary import summarise, write_summary
from hdpo.render.formats import points
from hdpo.report.figures import write_figures
from hdpo.report.tables import write_tables
from helpers.synthetic import (
    seal,
    write_everything,
    write_final,
    write_metrics,
    write_training,
)

GREEDY = np.array([1, 1, 0, 0])
SAMPLES = np.array([[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]])  # 4, 1, 1, 0 of 4


def value(summary: pd.DataFrame, run: str, metric: str, protocol: str = "test", column: str = "mean"):
    chosen = summary.query("run == @run and metric == @metric and protocol == @protocol")
    return chosen[column].item()


def test_means_and_paired_differences_by_hand(few):
    for seed in (1, 2):
        write_final(few, "grpo", seed, GREEDY, SAMPLES)
    write_final(few, "hdpo-drifting-0.1", 1, np.array([1, 1, 1, 0]), SAMPLES)  # +1 of 4 problems
    write_final(few, "hdpo-drifting-0.1", 2, np.array([1, 1, 0, 0]), SAMPLES[::-1])  # equal greedily
    write_final(few, "base", 0, np.zeros(4, int), SAMPLES)
    summary = summarise(Results(few))
    assert value(summary, "grpo", "greedy") == 0.5
    assert value(summary, "hdpo-drifting-0.1", "greedy") == 0.625
    assert value(summary, "hdpo-drifting-0.1", "greedy", column="diff") == 0.125
    assert value(summary, "base", "greedy", column="diff") == -0.5
    assert value(summary, "grpo", "pass@4") == 0.75
    assert value(summary, "hdpo-drifting-0.1", "pass@1", column="diff") == 0  # the same counts, other problems
    assert value(summary, "hdpo-drifting-0.1", "greedy", column="seed_sd") == pytest.approx(0.25 / np.sqrt(2))


def test_best_last_and_selected_by_hand(few):
    def solved(count: int) -> tuple[np.ndarray, np.ndarray]:
        right = (np.arange(4) < count).astype(int)
        return right, np.repeat(right[:, None], 4, axis=1)

    # Greedy correct of 4, by step 10, 20. Development prefers step 10, validation is best at 20.
    outcomes = {("development", step): solved(n) for step, n in ((10, 3), (20, 2))}
    outcomes |= {("validation", step): solved(n) for step, n in ((10, 1), (20, 3))}
    for seed in few.seeds:
        write_training(few, "grpo", seed, outcomes)
    summary = summarise(Results(few))
    by_protocol = {p: value(summary, "grpo", "greedy", p) for p in ("best", "last", "selected")}
    assert by_protocol == {"best": 0.75, "last": 0.75, "selected": 0.25}


def test_a_missing_seed_is_said_and_not_averaged_over_in_silence(study):
    write_everything(study)
    for run, seed in (("hdpo-frozen-0.1", 2), ("hdpo-drifting-1", 1), ("hdpo-drifting-1", 2)):
        (study.root / "eval" / run / f"seed{seed}.parquet").unlink()
    for seed in study.seeds:
        (study.root / "eval" / "hdpo-frozen-1" / f"seed{seed}.parquet").unlink()
    summary = summarise(Results(study))
    assert value(summary, "hdpo-frozen-0.1", "greedy", column="status") == "2 of 3 seeds"
    assert value(summary, "hdpo-frozen-0.1", "greedy", column="diff_seeds") == 2
    assert value(summary, "hdpo-frozen-1", "greedy", column="status") == "not run"
    assert np.isnan(value(summary, "hdpo-frozen-1", "greedy"))
    # One seed has a value and no interval: nothing says how much another would differ.
    assert value(summary, "hdpo-drifting-1", "greedy") > 0
    assert np.isnan(value(summary, "hdpo-drifting-1", "greedy", column="diff_low"))
    write_tables(study)
    table = (study.root / "tables" / "table1.md").read_text()
    assert "2 of 3 seeds" in table and "1 of 3 seeds" in table and "not run" in table


def test_a_difference_uses_the_seeds_that_both_sides_have(few):
    write_final(few, "grpo", 1, GREEDY, SAMPLES)
    write_final(few, "grpo", 2, np.zeros(4, int), SAMPLES)
    write_final(few, "hdpo-drifting-0.1", 1, np.ones(4, int), SAMPLES)
    (difference,) = Results(few).contrasts("test", "greedy", [{"hdpo-drifting-0.1": 1, "grpo": -1}])
    assert difference.seeds == (1,) and difference.values.tolist() == [[0, 0, 1, 1]]
    assert Results(few).contrasts("test", "greedy", [{"hdpo-frozen-0.1": 1, "grpo": -1}]) == [None]


@pytest.mark.slow
def test_nothing_run_gives_every_file_and_the_verdict_not_run(study, capsys):
    write_summary(study)
    write_tables(study)
    write_figures(study)
    assert write_check(study) == 0
    assert write_check(study, strict=True) == 1
    assert "Theory, 5: 5 not run." in capsys.readouterr().out
    verdicts = pd.read_csv(study.root / "check.csv")["verdict"]
    assert set(verdicts) == {"not run"}


def test_overhead_is_the_privileged_phase_and_the_demonstrations_share_of_the_update(study):
    path = write_metrics(study, "hdpo-drifting-0.1", 1)
    first = json.loads(path.read_text().splitlines()[0])
    first |= {"cliffs": 40, "tokens": {"rollout": 900, "privileged": 50, "distill": 30, "trained": 60}}
    first["seconds"] = {"rollout": 1.0, "reward": 0.1, "privileged": 0.5, "update": 1.0, "total": 2.6}
    path.write_text(json.dumps(first) + "\n")
    seal(study, "hdpo-drifting-0.1", 1)
    (row,) = overhead_steps(study, Results(study).reader).to_dict("records")
    # 30 · 4 network passes of 30 · 4 + 60 · 3: 0.4 of the update; 40 cliffs, of which 32 are taught.
    assert row["seconds"] == pytest.approx(0.5 + 0.4) and row["tokens"] == 80 and row["cliffs"] == 32


def test_a_planted_effect_is_found_and_no_effect_is_not(study, capsys):
    write_everything(study, effect=0.05)
    assert write_check(study) == 0
    verdicts = pd.read_csv(study.root / "check.csv").set_index("id")["verdict"]
    assert verdicts["1a"] == "reproduced" and verdicts["x3"] == "opposite sign" and verdicts["7"] == "not run"
    assert verdicts["10a"] == "reproduced"
    written = json.loads((study.root / "check.json").read_text())
    assert sum(sum(kind.values()) for kind in written["counts"].values()) == len(written["claims"])
    assert "reproduced" in capsys.readouterr().out
    write_everything(study, effect=0.0)  # every run the same luck: equal outcomes
    write_check(study)
    verdicts = pd.read_csv(study.root / "check.csv").set_index("id")["verdict"]
    assert verdicts["1a"] == "no difference seen" and verdicts["2a"] == "reproduced"


def test_a_fresh_run_is_compared_with_the_committed_one(study, tmp_path):
    write_everything(study, effect=0.0)
    write_summary(study)
    folder = tmp_path / "results" / "reference" / "tiny"
    folder.mkdir(parents=True)
    committed = pd.read_csv(study.root / "summary.csv")
    rows = committed.index[(committed["protocol"] == "test") & (committed["metric"] == "pass@1")]
    committed.loc[rows[1], "mean"] += 0.5
    committed.loc[rows[2], "mean"] += 1e-4
    committed.loc[rows[3], "config"] = "other"
    committed.to_csv(folder / "summary.csv", index=False)
    (study.root / "eval" / "hdpo-frozen-1" / "seed1.parquet").unlink()
    for seed in study.seeds:
        (study.root / "eval" / "hdpo-frozen-0.1" / f"seed{seed}.parquet").unlink()
    write_check(study)
    table = pd.DataFrame(json.loads((study.root / "check.json").read_text())["reference"])
    result = table[table["metric"] == "pass@1"].set_index("run")["result"].to_dict()
    assert result["base"] == "identical" and result["grpo"] == "differs"
    assert result["hdpo-drifting-0.01"] == "agrees" and result["hdpo-drifting-0.1"] == "another configuration"
    assert result["hdpo-frozen-0.1"] == "not run"


def test_everything_is_written_and_a_rerun_writes_the_same_bytes(study):
    write_everything(study, effect=0.02)

    def write() -> dict[str, bytes]:
        write_summary(study)
        write_tables(study)
        write_figures(study)
        write_check(study)
        kinds = ("summary.csv", "check.*", "tables/*", "figures/*")
        return {str(path): path.read_bytes() for kind in kinds for path in sorted(study.root.glob(kind))}

    first = write()
    assert first == write()
    names = {name.removeprefix(f"{study.root}/") for name in first}
    assert {
        f"tables/{t}.{kind}" for t in ("table1", "table1_paper", "table2") for kind in ("csv", "json", "md", "tex")
    } <= names
    figures = ("learning_curves", "tradeoff", "cliffs", "pass_at_k")
    assert {f"figures/{f}.{kind}" for f in figures for kind in ("png", "pdf")} <= names
    assert all(len(first[f"{study.root}/figures/{f}.png"]) > 20_000 for f in figures)
    assert {"summary.csv", "check.md", "check.csv", "check.json"} <= names


def test_tables_hold_the_numbers_and_latex_is_escaped(study):
    write_everything(study, effect=0.02)
    write_tables(study)
    folder, summary = study.root / "tables", summarise(Results(study))
    table1 = pd.read_csv(folder / "table1.csv").set_index("run")
    assert list(table1.index) == ["base", *study.runs]
    mean = value(summary, "grpo", "pass@8")
    assert table1.loc["grpo", "pass@8 test"] == pytest.approx(mean, abs=1e-6)
    assert f"{100 * mean:.1f}" in (folder / "table1.md").read_text()
    beside = pd.read_csv(folder / "table1_paper.csv")
    paper = beside[(beside["run"] == "hdpo-frozen-0.1") & beside["source"].str.startswith("paper Table 1")]
    assert paper.set_index("metric")["diff"].to_dict() == pytest.approx(
        {"greedy": -0.0215, "pass@4": 0.0063, "pass@8": 0.017}
    )
    own = beside[(beside["run"] == "grpo") & (beside["source"] == "study tiny")].set_index("metric")["value"]
    assert own["pass@8"] == pytest.approx(value(summary, "grpo", "any@8", "best"), abs=1e-6)
    table2 = pd.read_csv(folder / "table2.csv").set_index("hyperparameter")
    assert table2.loc["training steps", "paper"] == "2000" and table2.loc["training steps", "differs"] == "≠"
    assert pd.isna(table2.loc["top-k logits", "differs"])
    assert table2.loc["updates per batch", "paper"] == "1 [base]" and pd.isna(
        table2.loc["updates per batch", "differs"]
    )
    assert table2.loc["privileged input y*", "paper"] == "not stated"
    for name in ("table1", "table1_paper", "table2"):
        tex = (folder / f"{name}.tex").read_text()
        assert tex.isascii() and tex.count(r"\toprule") == tex.count(r"\bottomrule") >= 1


def test_points():
    assert points(0.0123, -0.004, 0.028) == "+1.2 [−0.4, +2.8]"
    assert points(0.0123, -0.004, 0.028, 4.13) == "+1.2 [−0.4, +2.8] (df\N{NO-BREAK SPACE}4.1)"
    assert points(0.0123, -0.004, 0.028, 511.0) == "+1.2 [−0.4, +2.8] (df\N{NO-BREAK SPACE}511)"
    assert points(-0.0001) == "0.0" and points(float("nan")) == "—"


def test_what_the_reported_numbers_say():
    facts = reported_facts(reported_scores()).set_index("reported numbers")["value"]
    assert facts["entries that are multiples of 1/2048 to four decimals"] == "30 of 30"
    assert facts["chance of that for one random entry"] == "0.205"
    assert facts["largest gain on pass@8, points"] == "+1.70"
    assert facts["λ = 0.01 entries below GRPO on pass@8"] == "2 of 4"


def test_comparisons_do_not_depend_on_their_company(study):
    write_everything(study, effect=0.02)
    results = Results(study)
    weights = [{run: 1.0, "grpo": -1.0} for run in study.runs[1:]]
    together = compare(results.contrasts("test", "pass@8", weights))
    alone = compare(results.contrasts("test", "pass@8", weights[2:3]))[0]
    assert dataclasses.astuple(alone)[:7] == pytest.approx(dataclasses.astuple(together[2])[:7])
