"""What an installed package holds and asks for: one version, extras, and commands that say which extra they lack."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

import hdpo
from hdpo.cli import EXTRAS
from helpers.studies import ROOT, write_study

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"PIL": "pillow", "math_verify": "math-verify"}  # where the name is not the module's


def named(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_the_version_has_one_source():
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == hdpo.__version__


def test_every_module_that_a_core_install_lacks_comes_with_the_extra_that_is_named():
    for module, extra in EXTRAS.items():
        assert DISTRIBUTIONS.get(module, module) in named(PROJECT["optional-dependencies"][extra]), module
        assert DISTRIBUTIONS.get(module, module) not in named(PROJECT["dependencies"]), module


def without_extras(arguments: list[str]) -> subprocess.CompletedProcess:
    """`hdpo` in a process that cannot import what a core install lacks."""
    hidden = [*EXTRAS, "sympy", "snakemake"]
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden})); from hdpo.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("command", ["summary", "tables", "figures", "theory", "audit", "check", "report", "page"])
def test_a_command_without_its_extra_says_which(tmp_path, command):
    done = without_extras([command, str(write_study(tmp_path))])
    assert done.returncode == 2
    assert done.stderr == f'hdpo {command}: needs the extra "report"; pip install "hdpo[report]"\n'


def test_the_trainer_for_trl_without_its_extra_says_which():
    code = "import sys; sys.modules['trl'] = None; import hdpo.trl"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith('hdpo.trl needs the extra "trl"; pip install "hdpo[trl]"\n')


@pytest.mark.slow
def test_a_math_task_without_its_extra_says_which(tmp_path):
    math = yaml.safe_load((ROOT / "config/paper.yaml").read_text())["task"]
    done = without_extras(["prompts", str(write_study(tmp_path, task=math))])
    assert done.returncode == 2
    assert done.stderr == 'hdpo prompts: needs the extra "math"; pip install "hdpo[math]"\n'


@pytest.mark.slow
def test_a_core_install_plans_trains_and_evaluates(tmp_path, monkeypatch, base_folder):
    monkeypatch.chdir(tmp_path)
    study = str(write_study(tmp_path, model__path=str(base_folder), train__steps=1, evaluate__every=1))
    one = ["--run", "hdpo-frozen-0.1", "--seed", "1"]
    base = ["--run", "base", "--seed", "0"]
    for arguments in (["plan", study], ["train", study, *one], ["evaluate", study, *base], ["evaluate", study, *one]):
        done = without_extras(arguments)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/smoke/eval/hdpo-frozen-0.1/seed1.parquet").is_file()
