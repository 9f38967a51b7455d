"""Several processes compute what one computes, go on from one another's checkpoints, and stop and fail as one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hdpo.cli import _join_ranks, main
from hdpo.model.loading import load_policy
from hdpo.run.train import train_run
from hdpo.study.study import load_study
from hdpo.system import launch, ranks
from hdpo.system.errors import UserError
from helpers import ranks_program
from helpers.steps import timeless
from helpers.studies import ROOT, write_study

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}


def llama(folder: Path, tokenizer_of: Path, tied: bool) -> Path:
    """A model of transformers' own with random weights, sharpened as conftest's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = json.loads((tokenizer_of / "config.json").read_text())
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{key: config[key] for key in sizes}, tie_word_embeddings=tied))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    shutil.copytree(tokenizer_of, folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, base_folder) -> Path:
    """A study file per case."""
    folder = tmp_path_factory.mktemp("ranks")
    bases = {"decoder": base_folder}
    more = {"train__micro_batch_tokens": 60, "train__max_response_tokens": 8}
    for kind in ("tied", "untied"):
        bases[f"llama-{kind}"] = llama(folder / kind, base_folder, kind == "tied")
    for case in ranks_program.CASES:
        model, sharding = case.rsplit("-", 1)
        hardware = {"processes": 2, "sharding": sharding}
        implementation = "small" if model == "decoder" else "transformers"
        changes = {"model__path": str(bases[model]), "model__implementation": implementation, "hardware": hardware}
        write_study(folder, **changes, **more).rename(folder / f"{case}.yaml")
    return folder


@pytest.fixture(scope="module")
def two(folder) -> dict:
    """The results of two processes, started by torchrun."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = [str(ROOT / "tests/helpers/ranks_program.py"), str(folder), str(folder / "two.pt")]
    done = subprocess.run([*torchrun, *program], env=ENVIRONMENT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(folder / "two.pt", weights_only=True)


def assert_close(found, expected, where: str = "", tolerance: float = 1e-5) -> None:
    """Equal, and numbers within a tolerance."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_close(found[key], expected[key], f"{where}.{key}", tolerance)
    elif isinstance(expected, torch.Tensor):
        assert torch.allclose(found, expected, rtol=0, atol=tolerance), (where, float((found - expected).abs().max()))
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), where
    else:
        assert found == expected, where


@pytest.mark.slow
@pytest.mark.parametrize("case", ranks_program.CASES)
def test_two_processes_compute_what_one_does(folder, two, case):
    one, found = ranks_program.three_steps(folder, case), two["steps"][case]
    for record in one["records"]:  # cliffs with demonstrations and a gradient of both terms, or equality proves little
        assert record["demonstrations"] > 0
        assert record["grad_norm_policy"] > 0.01 and record["grad_norm_distill"] > 0.01
    for step, (mine, theirs) in enumerate(zip(one["records"], found["records"], strict=True)):
        assert_close(theirs, mine, f"step {step}")
    assert_close(found["state"], one["state"])
    for theirs, mine in zip(found["outcomes"], one["outcomes"], strict=True):
        assert_close(theirs, mine)
    saved = [folder / f"{case}-{count}" for count in (1, 2)]
    implementation = load_study(folder / f"{case}.yaml").model.implementation
    for place in saved:
        weights = dict(load_policy(place, implementation=implementation).named_parameters())
        assert_close(weights, {name: one["state"][name] for name in weights})
    assert len({(place / "model.safetensors").stat().st_size for place in saved}) == 1  # tied weights are there once


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_goes_on_in_the_same_bits(two):
    for case, (uninterrupted, resumed) in two["resumed"].items():
        assert resumed["records"] == uninterrupted["records"] and resumed["records"][0]["grad_norm"] > 0.01, case
        for name, value in uninterrupted["state"].items():
            assert torch.equal(resumed["state"][name], value), (case, name)


@pytest.mark.slow
def test_a_number_that_is_not_finite_on_one_rank_stops_all_with_the_same_line(two):
    for what, (first, second) in two["errors"].items():
        assert first == second, what
    assert two["errors"]["task"][0] == "rewards: neither 0 nor 1"
    assert two["errors"]["reward"][0] == "rewards: 32 of 32 neither 0 nor 1 (first: nan)"
    assert "log-probabilities of the sampled tokens" in two["errors"]["weights"][0]
    assert two["errors"]["loss"][0].startswith("loss nan or gradient norm")


@pytest.mark.parametrize(("items", "count"), [(8, 2), (7, 2), (2, 3), (0, 2), (32, 8), (5, 8)])
def test_shares_are_the_whole_in_order_and_as_equal_as_can_be(monkeypatch, items, count):
    monkeypatch.setattr(ranks, "size", lambda: count)
    shares = [list(ranks.share(range(items), rank)) for rank in range(count)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def command(name: str, run: str, seed: int = 1) -> list[str]:
    return [sys.executable, "-P", "-m", "hdpo.cli", name, "study.yaml", "--run", run, "--seed", str(seed)]


def run_two(*arguments) -> subprocess.Popen:
    return subprocess.Popen(command(*arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def own_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not line.startswith("run ")]  # but for progress


@pytest.mark.slow
def test_stopped_killed_and_resumed_on_one_rank(tmp_path, monkeypatch):
    """SIGTERM saves the step in hand on both ranks together; SIGKILL of the command ends both; one process goes on."""
    monkeypatch.chdir(tmp_path)
    changes = {"model__path": str(ROOT / "results/reference/small/base"), "train__steps": 10, "evaluate__every": 10}
    study = load_study(write_study(tmp_path, hardware={"processes": 2}, **changes))
    run = study.run("hdpo-frozen-1", 1)
    metrics = run.state_folder / "metrics.jsonl"

    def lines() -> int:
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    stopped = run_two("train", run.name)
    wait_for(lambda: lines() >= 1, "the first step")
    stopped.send_signal(signal.SIGTERM)
    (said,) = own_lines(stopped.communicate(timeout=60)[1])
    assert stopped.returncode == 128 + signal.SIGTERM
    done = lines()
    where = f"hdpo: run hdpo-frozen-1 seed 1: stopped after step {done} of 10 and saved"
    assert said == f"{where}; the same command goes on from there"
    assert (run.state_folder / f"step-{done:06d}").is_dir() and done < 9

    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(tmp_path))
    killed = run_two("train", run.name)
    wait_for(lambda: lines() > done, "a step after resuming")
    assert list(tmp_path.glob("hdpo-*"))
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    killed.stderr.read()  # until both of its processes are gone
    assert not list(tmp_path.glob("hdpo-*"))
    assert not run.folder.exists()

    one = load_study(write_study(tmp_path, **changes)).run(run.name, 1)
    assert one.state_folder == run.state_folder
    train_run(one)
    whole = load_study(write_study(tmp_path, name="whole", **changes)).run(run.name, 1)
    train_run(whole)
    assert json.loads((one.folder / "run.json").read_text())["resumed_after_step"] >= done
    records = [
        [timeless(json.loads(line)) for line in (each.folder / "metrics.jsonl").read_text().splitlines()]
        for each in (one, whole)
    ]
    assert sum(record["demonstrations"] for record in records[1]) > 0
    for step, (found, expected) in enumerate(zip(*records, strict=True)):
        assert_close(found, expected, f"step {step}", tolerance=1e-4)  # roundings of up to ten steps
    weights = [load_file(each.folder / "model/model.safetensors") for each in (one, whole)]
    assert_close(*weights)


@pytest.mark.slow
def test_a_mistake_is_one_line_of_two_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, hardware={"processes": 2})
    failed = run_two("evaluate", "base", 0)
    (line,) = failed.communicate(timeout=60)[1].splitlines()
    assert line.startswith("hdpo: model results/smoke/base: no tokenizer.json there")
    assert failed.returncode == 2


FATES = {
    "error": "import sys, time; time.sleep({rank} == 0 and 60); sys.exit(3)",
    "signal": "import os, time; time.sleep({rank} == 0 and 60); os.kill(os.getpid(), 9)",
    "none": "",
}


@pytest.mark.parametrize(("fate", "code"), [("error", 3), ("signal", 128 + 9), ("none", 0)])
def test_the_first_process_that_fails_ends_all_with_its_code(monkeypatch, capfd, fate, code):
    started = []

    def start(arguments, rank, count, rendezvous):
        started.append(subprocess.Popen([sys.executable, "-c", FATES[fate].format(rank=rank)]))
        return started[-1]

    monkeypatch.setattr(launch, "_start", start)
    assert launch.launch(2, []) == code
    assert all(process.returncode is not None for process in started)
    assert capfd.readouterr().err == ("hdpo: process 1 of 2 was ended by SIGKILL\n" if fate == "signal" else "")


@pytest.mark.parametrize("command", [["train", "--run", "grpo", "--seed", "1"], ["plan"]])
@pytest.mark.parametrize("key", ["gpus", "processes"])
def test_processes_that_do_not_divide_the_prompts_are_one_line(tmp_path, capsys, command, key):
    study = write_study(tmp_path, hardware={key: 3})
    assert main([command[0], str(study), *command[1:]]) == 2
    expected = f"hdpo: config {study}: hardware.{key} is 3, which must divide train.prompts_per_step, 8\n"
    assert capsys.readouterr().err == expected


def test_torchrun_with_another_number_of_processes_is_refused_as_well(make_study, monkeypatch):
    for name in ("LOCAL_RANK", "RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(UserError, match=r"prompts_per_step is 8, which 5 processes do not divide"):
        _join_ranks(make_study())


def test_gpus_and_processes_exclude_each_other(tmp_path, capsys):
    study = write_study(tmp_path, hardware={"gpus": 2, "processes": 2})
    assert main(["plan", str(study)]) == 2
    assert "hardware: processes: with gpus there is one for each" in capsys.readouterr().err
