"""A method and a task from an installed package, through the command line: the example of the documentation."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from helpers.studies import ROOT

PACKAGE = Path(__file__).parent / "package"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working directory with the example's study, and the example installed in `installed`."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(PACKAGE, folder / "package", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder / "installed")]
    subprocess.run([*pip, str(folder / "package")], check=True)
    shutil.copy(PACKAGE / "study.yaml", folder)
    (folder / "results/reference").mkdir(parents=True)
    (folder / "results/reference/small").symlink_to(ROOT / "results/reference/small")
    return folder


def python(folder: Path, *arguments: str) -> str:
    """What a Python with the example installed prints."""
    paths = {"PYTHONPATH": os.pathsep.join([str(folder / "installed"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::RuntimeWarning", *arguments]
    done = subprocess.run(command, cwd=folder, env=os.environ | paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hdpo(folder: Path, *arguments: str) -> str:
    return python(folder, "-m", "hdpo.cli", arguments[0], "study.yaml", *arguments[1:])


STATE = """
import sys
from hdpo.study.study import load_study
names = ("reinforce", "reinforce+baseline=false", "hdpo-drifting-0.1")
runs = [load_study("study.yaml").run(name, 1) for name in names]
print([run.name for run in runs], runs[1].method.baseline, *(run.code for run in runs), "torch" in sys.modules)
"""


def test_the_methods_parameters_and_code_are_part_of_a_runs_identity(folder):
    before = python(folder, "-c", STATE).split()
    assert before[:3] == ["['reinforce',", "'reinforce+baseline=false',", "'hdpo-drifting-0.1']"]
    assert before[3] == "False" and before[-1] == "False"  # a study is read without loading PyTorch
    method = folder / "installed/hdpo_toy/reinforce.py"
    kept = method.read_text()
    method.write_text(kept.replace("-advantages * logp", "-2 * advantages * logp"))
    changed = python(folder, "-c", STATE).split()
    method.write_text(kept.replace("# subtract", "# take away"))
    reworded = python(folder, "-c", STATE).split()
    method.write_text(kept)
    assert reworded == before
    assert changed[4] == changed[5] != before[4] and changed[6] == before[6]  # HDPO does not use it


@pytest.mark.slow
def test_the_method_learns_the_task_and_its_results_are_summarised(folder):
    hdpo(folder, "train", "--run", "reinforce", "--seed", "1")
    hdpo(folder, "evaluate", "--run", "reinforce", "--seed", "1")
    run = folder / "results/toy/runs/reinforce/seed1"
    rewards = [json.loads(line)["reward"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rewards) == 30
    assert sum(rewards[:5]) / 5 < 0.5 and sum(rewards[-5:]) / 5 > 0.8
    assert json.loads((run / "run.json").read_text())["config"]["method"] == {"method": "reinforce", "baseline": True}
    hdpo(folder, "summary")
    summary = pd.read_csv(folder / "results/toy/summary.csv")
    final = summary.query("run == 'reinforce' and metric == 'greedy' and protocol == 'test'")["mean"].item()
    assert final > 0.8


def test_the_documentation_shows_this_code():
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    for file in [*PACKAGE.glob("hdpo_toy/[!_]*.py"), PACKAGE / "pyproject.toml", PACKAGE / "study.yaml"]:
        assert f"\n{file.read_text(encoding='utf-8').rstrip()}\n```" in page, file.name
