"""The built wheel in a clean environment and an empty folder: a whole study by hand, with no repository in reach."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hdpo.study.study import load_study
from helpers.studies import ROOT, write_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `hdpo` command of a new environment with the wheel; what the wheel depends on comes from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "hdpo", folder / "hdpo", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "dist", folder]
    subprocess.run([*pip, *build], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    (wheel,) = (folder / "dist").glob("hdpo-*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    (packages / "present.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv/bin/hdpo"


def test_a_study_runs_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    changes = {"pretrain__steps": 50, "train__steps": 2, "evaluate__every": 1, "evaluate__test_samples": 4}
    path = write_study(home, evaluate__samples=4, evaluate__ks=[1, 4], **changes)
    study = load_study(path)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def hdpo(command: str, *arguments: str) -> str:
        whole = [installed, command, path, *arguments]
        done = subprocess.run(whole, cwd=empty, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    one_of = ["--seed", str(study.seeds[0]), "--run"]
    hdpo("base")
    hdpo("evaluate", "--seed", "0", "--run", "base")
    for run in ("grpo", study.runs[-1]):
        hdpo("train", *one_of, run)
        hdpo("evaluate", *one_of, run)
    for stage in ("summary", "tables", "figures", "theory", "audit", "statistics", "gains", "check", "page", "report"):
        hdpo(stage)
    results = empty / study.root
    assert "not run" in (results / "check.md").read_text()  # the arm in between
    assert "Qwen2.5-Math-1.5B-Instruct" in (results / "tables/table2.csv").read_text()
    assert (results / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (results / "summary.html").is_file() and (results / "audit/audit.md").is_file()
    assert [path.name for path in empty.iterdir()] == ["results"]

    code = "import hdpo; from pathlib import Path; print(Path(hdpo.__file__).parent / 'py.typed')"
    typed = subprocess.run([installed.with_name("python"), "-c", code], cwd=empty, env=environment, capture_output=True)
    assert (
        installed.parents[1] in Path(typed.stdout.decode().strip()).parents
        and Path(typed.stdout.decode().strip()).is_file()
    )
