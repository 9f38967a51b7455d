"""`HDPOTrainer` with vLLM in its own process, for real. Skipped where vLLM or TRL is not installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm")
pytest.importorskip("trl.trainer", reason="TRL is not installed here")

from helpers.studies import ROOT, write_study

PROGRAM = Path(__file__).with_name("trl_program.py")  # a process of its own: it has one engine
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def train(folder: Path, base_folder: Path, teacher: str, dtype: str) -> dict:
    (folder / "base").symlink_to(base_folder)
    write_study(folder, model__path=str(base_folder), model__implementation="transformers")
    command = [sys.executable, str(PROGRAM), str(folder), teacher, dtype]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    if "no attribute 'weight_loader'" in done.stderr:
        pytest.skip("vLLM's kernels for this processor keep packed weights, which TRL cannot renew")
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    rollouts = [draw for draw in found["draws"] if draw["of"] == found["group"]]
    assert len(rollouts) == len(found["logs"]) < len(found["draws"])  # and privileged ones
    assert sum(log["kept"] for log in found["logs"]) > 0
    return found | {"gap": max(draw["gap"] for draw in found["draws"])}


@pytest.mark.parametrize("teacher", ["drifting", "frozen"])
def test_each_draw_comes_from_the_weights_that_it_should(base_folder, tmp_path, teacher):
    found = train(tmp_path, base_folder, teacher, "float32")
    assert found["gap"] < 1e-4  # of vLLM's log-probabilities to the weights' own
    assert found["moved"] > 0.1  # a stale copy would show


def test_trl_as_it_comes_renews_the_weights(base_folder, tmp_path):
    found = train(tmp_path, base_folder, "frozen", "auto")
    assert found["gap"] < 0.25 < found["moved"] / 2  # bfloat16
