"""The workflow end to end on a study small enough for a test; then what it does when run again."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hdpo.claims.claims import VERDICTS
from helpers.studies import hdpo, tiny
from helpers.workflow import planned, snakemake

pytestmark = pytest.mark.slow  # minutes


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder without the repository, in which the whole workflow has run once."""
    folder = tmp_path_factory.mktemp("elsewhere")
    study = tiny(name="mini", seeds=[1], methods=["grpo", hdpo()], pretrain__steps=40, train__steps=3)
    (folder / "mini.yaml").write_text(yaml.safe_dump(study))
    done = snakemake(folder, "mini.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_leaves_tables_figures_and_verdicts(finished):
    root = finished / "results/mini"
    for table in ("table1", "table1_paper", "table2"):
        for kind in ("csv", "md", "tex"):
            assert (root / f"tables/{table}.{kind}").stat().st_size > 100
    for figure in ("learning_curves", "tradeoff", "cliffs", "pass_at_k", "gains"):
        assert (root / f"figures/{figure}.png").read_bytes()[:4] == b"\x89PNG"
        assert (root / f"figures/{figure}.pdf").read_bytes()[:4] == b"%PDF"
    verdicts = set(pd.read_csv(root / "check.csv").verdict)
    assert verdicts <= set(VERDICTS)
    assert (root / "report.pdf").read_bytes()[:4] == b"%PDF"
    assert "<html" in (root / "summary.html").read_text(encoding="utf-8")[:400]
    for name in ("theory/theory.csv", "audit/audit.csv", "statistics.csv", "statistics_claims.csv", "gains.csv"):
        assert len(pd.read_csv(root / name)) > 0
    outcomes = pd.read_parquet(root / "eval/grpo/seed1.parquet")
    assert len(outcomes) == 32 and set(outcomes.samples.map(len)) <= {8, 16}  # 16 where the base never succeeds


def test_a_second_run_does_nothing(finished):
    again = snakemake(finished, "mini.yaml", "--dry-run")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr


def test_a_new_lambda_trains_only_itself(finished):
    study = yaml.safe_load((finished / "mini.yaml").read_text())
    study["methods"] = ["grpo", hdpo(distill_weight=[0.1, 0.7])]
    (finished / "more.yaml").write_text(yaml.safe_dump(study))
    jobs = planned(snakemake(finished, "more.yaml", "--dry-run"))
    assert jobs["train"] == 1 and jobs["evaluate"] == 1 and "base" not in jobs
    study["train"]["temperature"] = 0.9  # touches every run
    (finished / "more.yaml").write_text(yaml.safe_dump(study))
    assert planned(snakemake(finished, "more.yaml", "--dry-run"))["train"] == 3


def test_a_run_made_by_hand_changes_the_tables_when_it_comes_and_when_it_goes(finished, tmp_path):
    """However old its files are, and with no job for it: the set of what the tables read is another."""
    shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy2)
    root, readers = tmp_path / "copy/results/mini", {"summary", "tables", "figures", "gains", "statistics", "check"}
    for kind in ("runs/{}/seed1/run.json", "eval/{}/seed1.parquet", "eval/{}/seed1.json"):
        extra = root / kind.format("hdpo-frozen-0.3")
        extra.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / kind.format("hdpo-frozen-0.1"), extra)
        jobs = planned(snakemake(tmp_path / "copy", "mini.yaml", "--dry-run"))
        assert readers <= set(jobs) and not {"base", "train", "evaluate"} & set(jobs), kind
    for folder in ("runs", "eval"):
        shutil.rmtree(root / folder / "hdpo-frozen-0.3")
    assert planned(snakemake(tmp_path / "copy", "mini.yaml", "--dry-run")) == {}


def test_a_bad_study_is_one_line_and_nothing_is_written(finished):
    (finished / "bad.yaml").write_text(yaml.safe_dump(tiny(name="bad", train__stesp=1)))
    done = snakemake(finished, "bad.yaml")
    assert done.returncode == 2
    assert "hdpo: config bad.yaml: train.stesp: unknown key" in done.stderr and "Traceback" not in done.stderr
    assert not (finished / "results/bad").exists()
