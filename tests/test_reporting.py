"""From files to verdicts: what is read, refused, averaged, written and concluded."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from synthetic import (
    make_study,
    set_up_repository,
    write_everything,
    write_final,
    write_metrics,
    write_training,
)

from hdpo.claims.check import check_claims, write_check
from hdpo.claims.claims import (
    Direction,
    Equivalence,
    Overhead,
    Theory,
    direction_verdict,
    equivalence_verdict,
    load_claims,
    overhead_verdict,
    theory_verdict,
)
from hdpo.claims.overhead import fit_overhead, overhead_steps
from hdpo.claims.reader import Outcomes
from hdpo.claims.reported import reported_facts, reported_scores
from hdpo.claims.results import Comparison, Results, compare, summarise, write_summary
from hdpo.render.formats import points
from hdpo.report.figures import write_figures
from hdpo.report.tables import write_tables
from hdpo.system.errors import UserError


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The tiny study in an empty repository with the paper's data: 7 runs, 3 seeds, 60 test problems."""
    monkeypatch.chdir(tmp_path)
    set_up_repository(tmp_path)
    return make_study(tmp_path)


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Two runs, one evaluation after step 0 twice over, four problems a split: small enough to do by hand."""
    monkeypatch.chdir(tmp_path)
    set_up_repository(tmp_path)
    return make_study(
        tmp_path,
        seeds=[1, 2],
        sweep={"teachers": ["drifting"], "distill_weights": [0.1]},
        task={"problems": {"train": 16, "development": 4, "validation": 4, "test": 4}},
        train={"steps": 20},
        evaluate={"every": 10, "samples": 4, "test_samples": 4, "ks": [1, 4]},
    )


GREEDY = np.array([1, 1, 0, 0])
SAMPLES = np.array([[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]])  # 4, 1, 1, 0 of 4


def value(summary: pd.DataFrame, run: str, metric: str, protocol: str = "test", column: str = "mean"):
    chosen = summary.query("run == @run and metric == @metric and protocol == @protocol")
    return chosen[column].item()


# Reading.


def test_metrics_by_hand():
    outcomes = Outcomes(GREEDY, SAMPLES)
    assert outcomes.score("greedy").tolist() == [1, 1, 0, 0]
    assert outcomes.score("pass@1").tolist() == [1, 0.25, 0.25, 0]
    assert outcomes.score("pass@2").tolist() == [1, 0.5, 0.5, 0]
    assert outcomes.score("any@2").tolist() == [1, 0, 1, 0]
    with pytest.raises(UserError, match="pass@8: 4 samples"):
        outcomes.score("pass@8")


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

    # Greedy correct of 4, by step 0, 10, 20. Development prefers step 10, validation is best at 20; step 0 is no
    # candidate although it beats all.
    outcomes = {("development", step): solved(n) for step, n in ((0, 4), (10, 3), (20, 2))}
    outcomes |= {("validation", step): solved(n) for step, n in ((0, 4), (10, 1), (20, 3))}
    for seed in few.seeds:
        write_training(few, "grpo", seed, outcomes)
    summary = summarise(Results(few))
    by_protocol = {p: value(summary, "grpo", "greedy", p) for p in ("best", "last", "selected")}
    assert by_protocol == {"best": 0.75, "last": 0.75, "selected": 0.25}


def test_rows_in_another_order_are_put_right(few):
    path = write_final(few, "grpo", 1, GREEDY, SAMPLES)
    before = Results(few).final["grpo", 1]
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(table.take([2, 0, 3, 1]), path)
    after = Results(few).final["grpo", 1]
    assert np.array_equal(before.greedy, after.greedy) and np.array_equal(before.samples, after.samples)


@pytest.mark.parametrize(
    ("falsified", "reason"),
    [
        ({"problems": {"test": "0123456789ab"}}, "test problem set is 0123456789ab"),
        ({"run_hash": "0123456789ab"}, "configuration hash is 0123456789ab"),
        ({"seed": 2}, "run is grpo seed 2"),
        ({"run": "hdpo-drifting-0.1"}, "run is hdpo-drifting-0.1 seed 1"),
        ({"samples": 8}, "number of samples per problem is 8"),
    ],
    ids=["problems", "configuration", "seed", "run", "samples"],
)
def test_results_of_something_else_are_refused_in_one_line(few, falsified, reason):
    write_final(few, "grpo", 1, GREEDY, SAMPLES, falsified)
    with pytest.raises(UserError) as error:
        Results(few)
    assert reason in str(error.value) and "seed1.parquet" in str(error.value) and "\n" not in str(error.value)


def test_damaged_files_are_refused_in_one_line(few):
    path = write_final(few, "grpo", 1, GREEDY, SAMPLES)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not parquet"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"seed1\.parquet: damaged"):
            Results(few)
    write_final(few, "grpo", 1, np.array([1, 1, 0, 7]), SAMPLES)
    with pytest.raises(UserError, match="must be 0 or 1"):
        Results(few)


def test_unfinished_training_is_refused(few):
    outcomes = {(split, step): (GREEDY, SAMPLES) for split in ("development", "validation") for step in (0, 10)}
    write_training(few, "grpo", 1, outcomes)
    with pytest.raises(UserError, match=r"evaluated every 10 of 20 steps, is at \[0, 10\]"):
        Results(few)


def test_damaged_metrics_are_refused(study):
    path = write_metrics(study, "grpo", 1)
    path.write_text(path.read_text()[:-20])
    reader = Results(study).reader
    with pytest.raises(UserError, match=r"metrics\.jsonl: not one JSON object"):
        reader.metrics("grpo", 1)
    (path.parent / "run.json").write_text(json.dumps({"run_hash": "other"}))
    with pytest.raises(UserError, match=r"run\.json: its configuration hash is other"):
        reader.metrics("grpo", 1)


# Missing runs and seeds.


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


def test_nothing_run_gives_every_file_and_the_verdict_not_run(study, capsys):
    write_summary(study)
    write_tables(study)
    write_figures(study)
    assert write_check(study) == 0
    assert write_check(study, strict=True) == 1
    assert "0 reproduced" in capsys.readouterr().out
    verdicts = pd.read_csv(study.root / "check.csv")["verdict"]
    assert set(verdicts) == {"not run"}


# Rules.

CLAIM = dict(id="t", statement="s", where="w", quantity="q", metric="greedy", contrast={"a": 1.0, "b": -1.0})
UP = Direction(**CLAIM, rule="direction", direction="up", each=({"a": 1.0, "b": -1.0},), each_seed=True)
DOWN = Direction(**CLAIM, rule="direction", direction="down")
KEPT = Equivalence(**CLAIM, rule="equivalence", margin=0.01)


def measured(value: float, half: float, per_seed: tuple[float, ...] = ()) -> Comparison:
    """A comparison with 95 % interval value ± half, and a 90 % interval four fifths of that."""
    ends = (value - half, value + half, value - 0.8 * half, value + 0.8 * half)
    return Comparison(value, half / 2, *ends, 1.4 * half, per_seed or (value,) * 3, (1, 2, 3), 60)


@pytest.mark.parametrize(
    ("claim", "pooled", "each", "verdict"),
    [
        (UP, measured(0.02, 0.01), [measured(0.02, 0.05)], "reproduced"),
        (UP, measured(0.02, 0.01), [measured(-0.001, 0.05)], "direction only"),  # a part has the other sign
        (UP, measured(0.02, 0.01, (0.05, 0.02, -0.01)), [measured(0.02, 0.05)], "direction only"),  # a seed has
        (UP, measured(0.02, 0.03), [measured(0.02, 0.05)], "direction only"),
        (UP, measured(-0.02, 0.03), [measured(0.02, 0.05)], "inconclusive"),
        (UP, measured(0.0, 0.0), [measured(0.0, 0.0)], "inconclusive"),
        (UP, measured(-0.02, 0.01), [measured(0.02, 0.05)], "contradicted"),
        (UP, measured(0.02, np.nan), [measured(0.02, np.nan)], "direction only"),  # one seed
        (UP, measured(-0.02, np.nan), [measured(0.02, np.nan)], "inconclusive"),
        (UP, None, [measured(0.02, 0.05)], "not run"),
        (UP, measured(0.02, 0.01), [None], "not run"),
        (DOWN, measured(-0.02, 0.01), [], "reproduced"),
        (DOWN, measured(-0.02, 0.03), [], "direction only"),
        (DOWN, measured(0.02, 0.01), [], "contradicted"),
    ],
)
def test_direction_rule(claim, pooled, each, verdict):
    assert direction_verdict(claim, pooled, each) == verdict


@pytest.mark.parametrize(
    ("pooled", "verdict"),
    [
        (measured(0.001, 0.01), "reproduced"),  # 90 %: −0.7 to 0.9 points
        (measured(0.005, 0.01), "inconclusive"),
        (measured(0.03, 0.02), "contradicted"),  # 90 %: from 1.4
        (measured(-0.03, 0.02), "contradicted"),
        (measured(0.0, np.nan), "inconclusive"),
        (None, "not run"),
    ],
)
def test_equivalence_rule(pooled, verdict):
    assert equivalence_verdict(KEPT, pooled) == verdict


def test_theory_rule():
    claim = Theory(id="t", statement="s", where="w", quantity="q", rule="theory", checks=("lemma-1.bound", "prop-2"))
    ids = ["lemma-1.bound", "prop-2.limit.rate", "lemma-1.bounds"]  # the last is neither one of them nor below one
    table = pd.DataFrame({"id": ids, "verdict": ["holds", "holds with limits", "fails"]})
    assert theory_verdict(claim, table) == ("reproduced", "2 of 2 checks hold")
    assert theory_verdict(claim, table.assign(verdict=["holds", "fails", "holds"])) == (
        "contradicted",
        "1 of 2 checks hold",
    )
    assert theory_verdict(claim, table[:1])[0] == "not run"
    assert theory_verdict(claim, None)[0] == "not run"


def test_overhead_rule():
    claim = Overhead(
        **{key: "t" for key in ("id", "statement", "where", "quantity")},
        rule="overhead",
        unit="seconds",
        r_squared=0.5,
        intercept_share=0.25,
    )
    cliffs = np.tile(np.arange(5), 6)

    def verdict(seconds: np.ndarray) -> str:
        return overhead_verdict(claim, fit_overhead(pd.DataFrame({"cliffs": cliffs, "seconds": seconds}), "seconds"))

    noise = np.random.default_rng(0).normal(0, 10, 30)
    assert verdict(0.1 * cliffs) == "reproduced"
    assert verdict(0.1 * cliffs + 1) == "direction only"  # mostly a fixed cost
    assert verdict(0.1 * cliffs + noise - noise.min()) in ("direction only", "contradicted")  # mostly noise
    assert verdict(1 - 0.1 * cliffs) == "contradicted"
    assert verdict(np.ones(30)) == "inconclusive"
    assert overhead_verdict(claim, fit_overhead(pd.DataFrame(), "seconds")) == "not run"


def test_overhead_is_the_privileged_phase_and_the_demonstrations_share_of_the_update(study):
    path = write_metrics(study, "hdpo-drifting-0.1", 1)
    first = json.loads(path.read_text().splitlines()[0])
    first |= {"cliffs": 40, "tokens": {"rollout": 900, "privileged": 50, "distill": 30, "trained": 60}}
    first["seconds"] = {"rollout": 1.0, "reward": 0.1, "privileged": 0.5, "update": 1.0, "total": 2.6}
    path.write_text(json.dumps(first) + "\n")
    (row,) = overhead_steps(study, Results(study).reader).to_dict("records")
    # 30 · 4 network passes of 30 · 4 + 60 · 3: 0.4 of the update; 40 cliffs, of which 32 are taught.
    assert row["seconds"] == pytest.approx(0.5 + 0.4) and row["tokens"] == 80 and row["cliffs"] == 32


# Claims.


def test_claims_are_balanced_contrasts_with_a_rule_each(study):
    claims = load_claims()
    assert {claim.id.rstrip("abcd") for claim in claims if not claim.beyond} == {str(n) for n in range(1, 11)}
    reported = check_claims(Results(study), claims, reported_scores()).set_index("id")["reported"]
    # Table 1: (.7812 + .7812 + .7861 + .7856)/4 − .7749; Table 3: (.7773 + .7856 + .7783 + .7832)/4 − .7739.
    assert reported["1a"].startswith("+0.86 | +0.72 (sign in 8 of 8)")
    assert reported["1b"].startswith("+0.85 | +0.75 (sign in 6 of 8)")
    assert reported["4b"] == "+0.53 | −0.39"
    assert reported["x1"] == "—"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  rule: equivalence", "  rule: equivalance", "equivalance"),
        ("margin: 0.01", "margin: -0.01", "margin"),
        ("grpo: -1}", "grpo: -2}", "must sum to 0"),
        ("  where: abstract", "  were: abstract", "where: Field required"),
        ("- id: 1b", "- id: 1a", "each id may occur only once"),
        ("- id: 1a", "- id: [", "not valid YAML"),
        (
            "[prop-1.wording]",
            "[prop-1.wordings]",
            "claim 8b: no theory statement has the id prop-1.wordings; nearest: prop-1.wording$",
        ),
    ],
)
def test_malformed_claims_are_refused(study, old, new, message):
    from hdpo.claims.claims import CLAIMS

    text = CLAIMS.read_text()
    assert old in text
    CLAIMS.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        load_claims()


def test_a_planted_effect_is_found_and_no_effect_is_not(study, capsys):
    write_everything(study, effect=0.05)
    assert write_check(study) == 0
    verdicts = pd.read_csv(study.root / "check.csv").set_index("id")["verdict"]
    assert verdicts["1a"] == "reproduced" and verdicts["x3"] == "contradicted" and verdicts["7"] == "not run"
    assert verdicts["10a"] == "reproduced"
    written = json.loads((study.root / "check.json").read_text())
    assert sum(written["counts"].values()) == len(written["claims"])
    assert "reproduced" in capsys.readouterr().out
    write_everything(study, effect=0.0)  # every run the same luck: equal outcomes
    write_check(study)
    verdicts = pd.read_csv(study.root / "check.csv").set_index("id")["verdict"]
    assert verdicts["1a"] == "inconclusive" and verdicts["2a"] == "reproduced"


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


# What is written.


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
    assert table2.loc["top-k logits", "paper"] == "32" and table2.loc["top-k logits", "differs"] == "≠"
    assert pd.isna(table2.loc["learning rate", "differs"])
    for name in ("table1", "table1_paper", "table2"):
        tex = (folder / f"{name}.tex").read_text()
        assert tex.isascii() and tex.count(r"\toprule") == tex.count(r"\bottomrule") >= 1


def test_points():
    assert points(0.0123, -0.004, 0.028) == "+1.2 [−0.4, +2.8]"
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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {id: a, statement: s, where: w, quantity: q, metric: greedy, contrast: {grpo: 1, base: -1}}", "rule"),
        ("- {id: a, statement: s, where: w, quantity: q, rule: luck}", "luck"),
        ("- {id: a, statement: s, where: w, quantity: q, rule: direction, direction: up, metric: greedy,"
         " contrast: {grpo: 1}}", "sum to 0"),
        ("- [", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_claim_without_a_proper_rule_is_refused(tmp_path, text, reason):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"claims\.yaml.*{reason}"):
        load_claims(path)
