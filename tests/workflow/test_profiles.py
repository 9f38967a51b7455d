"""Profiles and GPUs: what a job may use, and the jobs that every scale plans."""

import os
import subprocess
import sys

import pytest
import yaml

from hdpo.cli import main
from hdpo.study.study import load_study
from hdpo.system import devices
from hdpo.system.devices import claim_gpus
from hdpo.system.errors import UserError
from helpers.studies import ROOT, hdpo, tiny, write_study
from helpers.workflow import planned, snakemake


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(devices.tempfile, "tempdir", None)
    monkeypatch.setattr(devices, "HELD", [])


HOLD = """
import sys
from hdpo.system.devices import claim_gpus
environment = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
claim_gpus(int(sys.argv[1]), environment)
print(environment["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


def holder(count: int) -> tuple[subprocess.Popen, str]:
    """Another process that claims `count` of three GPUs and keeps them until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    return process, process.stdout.readline().strip()


def test_two_jobs_never_share_a_gpu_and_a_killed_one_frees_its_own():
    first, taken = holder(2)
    assert taken == "0,1"
    environment = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    claim_gpus(1, environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "2"
    with pytest.raises(
        UserError, match=rf"only 0 of 3 GPUs are free \(GPU 2: process {os.getpid()} on .*--resources gpu=3"
    ):
        claim_gpus(2, {"CUDA_VISIBLE_DEVICES": "0,1,2"})
    first.kill()
    first.wait()
    environment = {"CUDA_VISIBLE_DEVICES": "0,1"}
    claim_gpus(2, environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_refused_claim_keeps_no_gpu():
    first, _ = holder(2)
    with pytest.raises(UserError, match="only 1 of 3"):
        claim_gpus(3, {"CUDA_VISIBLE_DEVICES": "0,1,2"})
    second, taken = holder(1)
    assert taken == "2"
    for process in (first, second):
        process.communicate("")


def test_sharing_has_to_be_asked_for():
    first, taken = holder(3)
    environment = {"CUDA_VISIBLE_DEVICES": "0,1,2", "HDPO_SHARE_GPUS": "1"}
    claim_gpus(2, environment)
    assert taken == "0,1,2" and environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    first.communicate("")


def test_gpus_that_slurm_or_torchrun_assigned_are_taken_as_they_are():
    first, _ = holder(3)
    environment = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7"}
    claim_gpus(1, environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    environment = {"CUDA_VISIBLE_DEVICES": "0,1", "LOCAL_RANK": "1"}
    claim_gpus(2, environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    with pytest.raises(UserError, match="sees 1 GPUs"):
        claim_gpus(2, {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7"})
    first.communicate("")


def test_a_study_without_gpus_sees_none():
    environment = {"CUDA_VISIBLE_DEVICES": "0,1"}
    claim_gpus(0, environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_gpus_that_are_not_there_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    study = write_study(tmp_path, hardware={"gpus": 2}, model__implementation="transformers")
    assert main(["train", str(study), "--run", "grpo", "--seed", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hdpo: hardware.gpus is 2, but this process sees 0 GPUs") and error.count("\n") == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder without the repository."""
    return tmp_path_factory.mktemp("elsewhere")


# Training jobs are arms × seeds; every one is tested, and so is the base model.
@pytest.mark.parametrize(
    ("scale", "profile", "trained"),
    [
        ("paper", "gpu", 5),
        pytest.param("gpu1", "gpu", 3 * 3, marks=pytest.mark.slow),
        pytest.param("small", "local", 7 * 20, marks=pytest.mark.slow),
        pytest.param("tenfold", "local", None, marks=pytest.mark.slow),
    ],
)
def test_every_scale_plans_the_jobs_of_its_arms(folder, scale, profile, trained):
    path = ROOT / f"config/{scale}.yaml"
    study = load_study(path)
    trained = len(study.runs) * len(study.seeds) if trained is None else trained
    done = snakemake(folder, str(path), "--profile", str(ROOT / f"profiles/{profile}"), "--dry-run")
    assert done.returncode == 0, done.stderr[-2000:]
    jobs = planned(done)
    assert jobs["train"] == trained and jobs["evaluate"] == trained + 1
    assert ("base" in jobs) == (study.model.path is None) and jobs["summary"] == jobs["report"] == jobs["page"] == 1


@pytest.mark.slow
def test_an_arm_with_a_parameter_of_its_own_is_planned(folder):
    """Its run's name holds a plus sign, which means something else in the workflow's pattern for names."""
    arms = ["grpo", {"method": "grpo", "clip": 0.3}, hdpo(top_k=8)]
    (folder / "arms.yaml").write_text(yaml.safe_dump(tiny(name="arms", methods=arms)))
    done = snakemake(folder, "arms.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr[-2000:]
    assert planned(done)["train"] == 3


@pytest.mark.slow
def test_runs_beside_the_list_take_its_seeds_and_a_wrong_one_is_one_line(folder):
    study = str(ROOT / "config/controls/answer-true.yaml")
    done = snakemake(folder, study, "add=sft-0.1 rft-frozen-1 grpo", "--dry-run", "--", "runs")
    assert done.returncode == 0, done.stderr[-2000:]
    assert planned(done) | {"train": 0} == {"train": 0, "evaluate": 4 * 8 + 1, "runs": 1, "total": 2 * 4 * 8 + 2}
    wrong = snakemake(folder, study, "add=sft-0.1 sfd-0.1", "--dry-run", "--", "runs")
    assert wrong.returncode == 2 and "hdpo: run 'sfd-0.1': no method 'sfd'; did you mean sft?" in wrong.stderr


def test_jobs_declare_what_the_study_grants_them(folder):
    arguments = ("--profile", str(ROOT / "profiles/gpu"), "--resources", "gpu=8", "--dry-run", "--quiet", "progress")
    done = snakemake(folder, str(ROOT / "config/paper.yaml"), *arguments)
    blocks = [
        block for block in (done.stdout + done.stderr).split("rule ") if block.startswith(("train:", "evaluate:"))
    ]
    assert len(blocks) == 5 + 6
    granted = load_study(ROOT / "config/paper.yaml").hardware
    for block in blocks:
        for key, value in (("gpu", granted.gpus), ("mem_mb", granted.memory_mb), ("runtime", granted.minutes)):
            assert f"{key}={value}," in block.replace("\n", ",").replace(" ", ",")


@pytest.mark.parametrize("name", ["local", "gpu", "slurm"])
def test_profiles_hold_options_that_snakemake_knows(name):
    """All but the executor's name, which Snakemake takes only where its plug-in is installed."""
    from snakemake.cli import get_argument_parser

    profile = yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())
    known = {option.removeprefix("--") for action in get_argument_parser()._actions for option in action.option_strings}
    assert set(profile) <= known
    assert (profile.get("executor") == "slurm") == (name == "slurm")
