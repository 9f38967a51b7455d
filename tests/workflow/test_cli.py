"""The command line: mistakes in one line with exit code 2, nothing written; publishing and costs."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from hdpo.claims.sources import FILES
from hdpo.cli import main
from hdpo.report.job_costs import stage_costs, write_cost
from hdpo.report.publish import fill_blocks, publish
from hdpo.system.errors import UserError
from hdpo.system.files import write_record
from helpers.studies import ROOT, write_study
from helpers.synthetic import make_study, write_everything


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "changes", "expected"),
    [
        (["train", "--run", "grpo", "--seed", "1"], {}, "results/smoke/base: no tokenizer.json there"),
        (["train", "--run", "grpo", "--seed", "1"], {"train__backend": "vllm"}, "vLLM is not installed"),
        (["train", "--run", "gpro", "--seed", "1"], {}, "no method 'gpro'; did you mean grpo?"),
        (["evaluate", "--run", "grpo", "--seed", "1"], {}, "runs/grpo/seed1/run.json: missing"),
        (["evaluate", "--run", "base", "--seed", "0"], {}, "results/smoke/base: no tokenizer.json there"),
        (["evaluate", "--run", "base", "--seed", "7"], {}, "run 'base', seed 7: the base model has one seed, 0"),
        (["evaluate", "--run", "base", "--seed", "0"], {"train__backend": "vllm"}, "vLLM is not installed"),
        (["train", "--run", "grpo", "--seed", "1"], {"hardware__rollout_memory": 1.0}, "hardware.rollout_memory"),
        (["cost"], {}, "no finished run"),
        (["publish"], {}, "no finished run to publish"),
        (["base"], {"train__steps": 0}, "train.steps"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folder, capsys, arguments, changes, expected):
    study = write_study(folder, **changes)
    command, *rest = arguments
    assert main([command, str(study), *rest]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1 and error.startswith("hdpo: ")
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]


def test_evaluating_a_run_of_another_config_is_refused(folder, capsys):
    study = write_study(folder)
    write_record(folder / "results/smoke/runs/grpo/seed1/run.json", {"run_hash": "0123456789ab"}, [])
    assert main(["evaluate", str(study), "--run", "grpo", "--seed", "1"]) == 2
    assert "made by config 0123456789ab" in capsys.readouterr().err


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from hdpo.cli import build_parser; build_parser().format_help();"
        "sys.exit(bool({'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_publish_copies_small_files_and_refreshes_the_readme(folder):
    study = make_study(folder)
    write_everything(study)
    for name, text in {"check.md": "c", "tables/headline.md": "| new |", "figures/a.png": "p"}.items():
        (study.root / name).parent.mkdir(parents=True, exist_ok=True)
        (study.root / name).write_text(text)
    (study.root / "runs/grpo/seed1/model").mkdir(parents=True)
    (study.root / "runs/grpo/seed1/model/model.safetensors").write_text("weights")
    stale = folder / "results/reference/tiny/figures/stale.png"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    readme = folder / "README.md"
    readme.write_text("a\n<!-- from results/reference/tiny/tables/headline.md -->\nold\n<!-- end -->\nb\n")
    out = publish(study, readme)
    assert not stale.exists()
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {"check.md", "tables/headline.md", "figures/a.png", "published.json", *FILES}
    assert "| new |" in readme.read_text() and "old" not in readme.read_text()
    assert fill_blocks(readme.read_text()) == readme.read_text()


def test_a_study_that_still_runs_can_be_published(folder):
    study = make_study(folder)
    write_everything(study, missing=(("grpo", 3),))
    assert {path.name for path in publish(study, folder / "README.md").iterdir()} == {"published.json", *FILES}


def test_costs_add_up_by_stage(folder):
    jobs = pd.DataFrame(
        {"job": ["train-a", "train-b", "evaluate-a"], "seconds": [10.0, 30.0, 5.0], "peak_mb": [100.0, 300.0, 50.0]}
    )
    jobs["stage"] = jobs["job"].str.split("-").str[0]
    stages = stage_costs(jobs).set_index("stage")
    assert stages.loc["train"].tolist() == [2, 20.0, 40.0, 300.0]
    with pytest.raises(UserError, match="no finished run"):
        write_cost(make_study(folder))


def test_readme_shows_the_committed_results(monkeypatch):
    """No number in the README's generated blocks is typed by hand."""
    monkeypatch.chdir(ROOT)
    text = Path("README.md").read_text(encoding="utf-8")
    assert text.count("<!-- from ") == 2
    assert fill_blocks(text) == text


PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if "<!-- from " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_the_committed_results(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8")
    assert fill_blocks(text) == text
