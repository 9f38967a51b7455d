"""Results of more than one code: every reader says so, and says which code made what."""

import pandas as pd
import pytest

from hdpo.claims.check import write_check
from hdpo.claims.codes import codes_line
from hdpo.claims.results import Results
from hdpo.claims.summary import write_summary
from hdpo.report.statistics import write_statistics
from hdpo.report.tables import write_tables
from hdpo.report.web_page import write_page
from hdpo.study.study import Study
from hdpo.system.files import read_record, write_record
from helpers.studies import hdpo
from helpers.synthetic import make_study, seal, write_everything

ARM = "hdpo-drifting-0.1"


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    monkeypatch.chdir(tmp_path)
    study = make_study(tmp_path, seeds=[1, 2], methods=["grpo", hdpo("drifting")])
    write_everything(study)
    return study


def test_one_present_code_needs_no_words(study, capsys):
    assert study.run("grpo", 1).code != study.run(ARM, 1).code  # methods differ in code, and that is no news
    assert Results(study).codes == ""
    write_check(study)
    assert "Results of" not in capsys.readouterr().out and "Results of" not in (study.root / "check.md").read_text()


def test_runs_and_evaluations_of_other_codes_are_named_everywhere(study, capsys):
    for seed in study.seeds:
        seal(study, "grpo", seed, code="0123456789ab")
    evaluation = study.root / "eval" / ARM / "seed2.json"
    write_record(evaluation, read_record(evaluation) | {"code": "ba9876543210"}, [evaluation.with_suffix(".parquet")])
    line = (
        "Results of three codes: 0123456789ab made grpo (seeds 1, 2);"
        f" ba9876543210 made evaluation of {ARM} (seed 2); the present code made the rest."
    )
    assert Results(study).codes == line
    write_check(study)
    assert line in capsys.readouterr().out and line in (study.root / "check.md").read_text()
    assert line in write_page(study).read_text()


def test_a_run_of_another_code_is_named_before_it_is_tested(study):
    """In the summary by column, below the headline table and above the statistics by the line."""
    seal(study, "grpo", 2, code="0123456789ab")
    for suffix in ("json", "parquet"):
        (study.root / f"eval/grpo/seed2.{suffix}").unlink()
    own = study.run("grpo", 1).code
    line = "Results of two codes: 0123456789ab made grpo (seed 2); the present code made the rest."
    summary = pd.read_csv(write_summary(study), keep_default_na=False).set_index("run")
    codes = summary.query("protocol == 'test' and metric == 'greedy'")[["code", "test_code"]].T.to_dict("list")
    tested = study.evaluation_code
    assert codes == {
        "base": ["", tested],
        "grpo": [f"{own}, 0123456789ab", tested],
        ARM: [study.run(ARM, 1).code, tested],
    }
    write_tables(study)
    write_statistics(study)
    for name in ("tables/headline.md", "tables/table1.tex", "statistics.md"):
        assert line in " ".join((study.root / name).read_text().split()), name


def test_one_old_code_and_a_record_that_states_none(study):
    seal(study, "grpo", 1, code="0123456789ab")
    (study.root / "eval/grpo/seed1.json").unlink()
    assert codes_line(study, [("grpo", 1)]) == (
        "Results of one code, not the present one: 0123456789ab made grpo (seed 1)."
    )
    record = read_record(study.run(ARM, 1).folder / "run.json")
    record.pop("code")
    folder = study.run(ARM, 1).folder
    write_record(folder / "run.json", record, [folder / "evals.parquet", folder / "metrics.jsonl"])
    assert "an unknown code made hdpo-drifting-0.1 (seed 1)" in codes_line(study, [(ARM, 1)])
    assert codes_line(study, [("grpo", 5)]) == ""  # nothing there
