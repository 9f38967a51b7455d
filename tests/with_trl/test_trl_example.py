"""The example script and the page about it."""

import json
import re
import runpy
from dataclasses import fields

import pytest

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from trl import GRPOConfig

from hdpo.trl import HDPOConfig
from helpers.studies import ROOT

PAGE = (ROOT / "docs/trl.md").read_text(encoding="utf-8")
OWN = {field.name for field in fields(HDPOConfig)} - {field.name for field in fields(GRPOConfig)}


def test_the_example_trains_on_a_file_of_problems(folder, tmp_path):
    problems = [
        {"question": f"{a} {b} > {a + b} ?", "solution": f"{a} + {b} = {a + b}", "answer": f"{a + b}"}
        for a, b in [(1, 2), (3, 4), (5, 6), (7, 8)]
    ]
    data = tmp_path / "problems.jsonl"
    data.write_text("\n".join(map(json.dumps, problems)))
    main = runpy.run_path(str(ROOT / "examples/trl_hdpo.py"))["main"]
    given = {"model": folder / "base", "problems": data, "output_dir": tmp_path / "out", "distill_weight": 1}
    given |= {"teacher": "frozen", "max_steps": 2, "num_generations": 4, "max_completion_length": 8, "logging_steps": 1}
    given |= {"use_cpu": True, "bf16": False, "report_to": "none"}
    trainer = main([part for name, value in given.items() for part in (f"--{name}", str(value))])
    assert trainer.args.distill_weight == 1
    assert [entry["hdpo/cliffs"] for entry in trainer.state.log_history[:2]]
    assert (tmp_path / "out/model.safetensors").exists()


def test_the_page_explains_every_argument():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) >= OWN


def test_the_page_explains_every_metric():
    source = (ROOT / "hdpo/trl/trainer.py").read_text(encoding="utf-8")
    logged = {f"hdpo/{name}" for name in re.findall(r'self\._log\("(\w+)"', source)}
    assert logged == set(re.findall(r"`(hdpo/\w+)`", PAGE))
