"""The study's wider statistics on a made-up study: numbers by hand, missing runs, planted effects, equal bytes."""

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.claims import Direction, load_claims
from hdpo.claims.results import Results, compare
from hdpo.report.statistics import claim_tests, pass_at_k_statistics, run_statistics, write_statistics
from hdpo.stats.passk import pass_at_k
from hdpo.stats.power import holm
from helpers.studies import hdpo
from helpers.synthetic import make_results, make_study, write_everything


@pytest.fixture
def study(tmp_path, monkeypatch):
    """An empty study; nothing is run."""
    monkeypatch.chdir(tmp_path)
    return make_study(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with a planted effect; two runs lack a seed."""
    return make_results(tmp_path_factory.mktemp("made"), 0.02, (("hdpo-frozen-1", 2), ("hdpo-frozen-0.1", 1)))


def test_statistics_of_a_run_by_hand(results):
    table = run_statistics(results).set_index(["run", "metric"])
    scores = results.scores("test", "greedy")
    D = np.stack([scores["hdpo-drifting-1"][seed] - scores["grpo"][seed] for seed in (1, 2, 3)])
    row = table.loc[("hdpo-drifting-1", "greedy")]
    assert row["diff"] == pytest.approx(D.mean())
    assert row["se_seed"] == pytest.approx(D.mean(axis=1).std(ddof=1) / np.sqrt(3))
    assert row["se_problem"] == pytest.approx(D.mean(axis=0).std(ddof=1) / np.sqrt(60))
    assert (row["gained"], row["lost"]) == ((D == 1).sum(), (D == -1).sum())
    assert len(row["mcnemar_p"].split()) == 3 and np.isnan(row["iqm"])
    assert table.loc[("hdpo-frozen-1", "pass@8"), "seeds"] == 2
    improved = table.loc[("hdpo-drifting-1", "pass@1")]
    assert improved["improvement"] > 0.5 and improved["iqm_diff"] == pytest.approx(
        improved["iqm"] - improved["iqm_baseline"]
    )


def test_p_values_agree_with_the_intervals_behind_the_verdicts(results):
    claims = load_claims()
    table = claim_tests(results, claims).set_index("id")
    directional = [claim for claim in claims if isinstance(claim, Direction)]
    assert list(table.index) == [claim.id for claim in directional]
    for claim in directional:
        found = compare(results.contrasts("test", claim.metric, [claim.contrast], claim.subset))[0]
        if found is None:  # no problems of that size here
            assert claim.subset == "size 5" and np.isnan(table.loc[claim.id, "p"])
            continue
        assert table.loc[claim.id, "diff"] == pytest.approx(found.value)
        assert (table.loc[claim.id, "p"] < 0.05) == (found.low > 0 or found.high < 0)
        assert (table.loc[claim.id, "p"] < 0.10) == (found.low90 > 0 or found.high90 < 0)
    for _, family in table.groupby("beyond"):
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()), nan_ok=True)


def test_nothing_run_is_said_and_not_averaged(study):
    table = run_statistics(Results(study))
    assert (table["seeds"] == 0).all() and table["diff"].isna().all()
    assert claim_tests(Results(study), load_claims())["p_holm"].isna().all()
    assert pass_at_k_statistics(Results(study)).empty
    paths = write_statistics(study)
    assert all(path.exists() for path in paths)
    assert "not run" in (study.root / "statistics.md").read_text(encoding="utf-8")


def test_one_seed_has_no_run_to_run_error(study, tmp_path):
    single = make_study(tmp_path, seeds=[1], name="single", methods=["grpo", hdpo("drifting")])
    write_everything(single, effect=0.05)
    table = run_statistics(Results(single))
    assert table["se"].isna().all() and table["seeds_for_target"].isna().all() and table["se_problem"].notna().all()
    assert claim_tests(Results(single), load_claims())["p"].isna().all()
    write_statistics(single)


def test_pass_at_k_statistics_by_hand(results):
    table = pass_at_k_statistics(results).set_index(["run", "k"])
    counts = np.stack([results.final[("grpo", seed)].samples.sum(axis=-1) for seed in (1, 2, 3)])
    assert table.loc[("grpo", 4), "mean"] == pytest.approx(pass_at_k(counts, 16, 4).mean())
    # k = 1: p̂(1 − p̂)/(n − 1) per problem and seed.
    share = counts / 16
    expected = np.sqrt((share * (1 - share) / 15).sum()) / share.size
    assert table.loc[("grpo", 1), "se_samples"] == pytest.approx(expected)
    row = table.loc[("grpo", 8)]
    assert row["posterior_low"] < row["posterior"] < row["posterior_high"]
    assert row["posterior"] == pytest.approx(row["mean"], abs=0.03)
    assert table.loc[("base", 8), "seeds"] == 1


def test_a_rerun_writes_the_same_bytes_to_any_folder(results, tmp_path):
    study = results.study
    first = {path.name: path.read_bytes() for path in write_statistics(study)}
    second = {path.name: path.read_bytes() for path in write_statistics(study, tmp_path / "elsewhere")}
    assert first == second and len(first) == 6
    assert len(pd.read_csv(study.root / "statistics.csv")) == 6 * 4
