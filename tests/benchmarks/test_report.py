"""What the benchmark's report says of its goals, processor by processor."""

import itertools
import json

import pytest

from benchmarks.__main__ import main
from benchmarks.part import folder_name, result_file, run_part
from benchmarks.report import write_report
from hdpo.system.errors import UserError
from hdpo.system.files import read_json, write_json

MACHINE = {"cpu": "a processor", "gpu": None, "versions": {"torch": "2"}, "quick": False}


def made_up() -> dict[str, dict]:
    """Results of some parts, as the parts write them."""
    timing = {"ratio": 2.0, "low": 1.9, "high": 2.1}
    step = {"size": "0.5M", "parameters": 5e5, "prompts": 16, "group": 16, "hdpo_s": 0.1, "trl_s": 0.2} | timing
    fits = [
        {"axis": axis, "quantity": quantity, "exponent": 0.9, "standard_error": 0.02, "r_squared": 0.99}
        for axis, quantity in itertools.product(
            ("rollouts per prompt", "response length"), ("rollout_s", "rollout_linear_s", "update_s")
        )
    ]
    fits[3]["exponent"] = 1.5  # rollouts with their attention, which may
    fits[4]["exponent"] = 1.05  # and without it, against response length: 2.5 standard errors above 1
    points = [
        {"axis": axis, "size": size, "rollout_s": size / 10, "update_s": size / 5}
        for axis, size in itertools.product(("rollouts per prompt", "response length"), (1, 2))
    ]
    return {
        "peers": {
            "trl": "1.16",
            "rows": [step, step | {"size": "30M", "ratio": 0.9}],
            "defaults": step,
            "run": {"steps": 20} | step,
        },
        "growth": {"rows": points, "fits": fits, "sweeps": [{"runs": 1001, "seconds": 4.0}]},
        "startup": {
            "rows": [
                {"what": name, "seconds": seconds} for name, seconds in (("hdpo --help", 0.2), ("first step", 7.0))
            ],
            "imports": [{"module": "torch", "seconds": 1.0}],
        },
    }


def write_results(out, results: dict[str, dict], cpu: str = MACHINE["cpu"]) -> None:
    for part, result in results.items():
        write_json(out / folder_name(cpu) / f"{part}.json", MACHINE | {"cpu": cpu} | result)


def goals(out) -> dict[str, dict[str, str]]:
    """The rows of goals.md by their first cell."""
    lines = (out / "goals.md").read_text().splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def test_the_report_says_which_goals_are_met_and_what_was_not_run(tmp_path):
    write_results(tmp_path, made_up())
    write_report(tmp_path)
    met = {what: row["met"] for what, row in goals(tmp_path).items()}
    assert met == {
        "GRPO step beside TRL's, small world": "no",  # 2 times, not 3
        "the same up to 30 M parameters": "no",
        "whole run beside TRL's, process start included": "no",
        "GRPO step against the float32 matrix rate": "—",
        "HDPO step over GRPO step at 40 % cliffs": "—",
        "HDPO's overhead is a straight line in the cliff fraction": "—",
        "exponent against rollouts per prompt, attention apart": "yes",
        "the same against response length": "no",
        "Snakemake's dry run with 1,000 runs": "yes",
        "the first round's study, from training to the report": "—",
        "hdpo --help": "yes",
        "start of hdpo train to the end of its first step": "no",
    }
    assert {path.name for path in tmp_path.glob("*/*.png")} == {"step_time.png", "growth.png"}
    assert "TRL 1.16" in (tmp_path / "a-processor/bench.md").read_text()


def test_the_goals_name_each_processor_and_say_what_holds_on_which(tmp_path):
    """A second processor reaches another goal, misses one that the first meets, and has no growth measured."""
    write_results(tmp_path, made_up())
    starts = [{"what": "hdpo --help", "seconds": 0.9}, {"what": "first step", "seconds": 5.0}]
    write_results(tmp_path, {"startup": {"rows": starts, "imports": []}}, cpu="B (model 2)")
    write_report(tmp_path)
    found = goals(tmp_path)
    help, first = found["hdpo --help"], found["start of hdpo train to the end of its first step"]
    assert (help["a processor"], help["B (model 2)"], help["met"]) == ("0.20 s", "0.90 s", "only on a processor")
    assert (first["a processor"], first["B (model 2)"], first["met"]) == ("7.0 s", "5.0 s", "only on B (model 2)")
    sweep = found["Snakemake's dry run with 1,000 runs"]
    assert sweep["B (model 2)"] == "not run" and sweep["met"] == "yes"
    caption = (tmp_path / "goals.md").read_text().splitlines()[0]
    assert "One thread of a processor" in caption and "One thread of B (model 2)" in caption


def test_two_versions_have_their_table(tmp_path):
    row = {"what": "GRPO step", "new_s": 0.2, "old_s": 0.4, "ratio": 0.5, "low": 0.4, "high": 0.6}
    commits = {"new": "a" * 40, "old": None}
    result = {"rows": [row], "rounds": 7, "cliffs": 6, "tokens": {"new": 3923, "old": 3923}, "commits": commits}
    write_results(tmp_path, {"versions": result})
    write_report(tmp_path)
    text = (tmp_path / "a-processor/bench.md").read_text()
    assert "Version aaaaaaa (new) beside unknown (old), 7 rounds" in text
    assert "|    0.200 |    0.400 |           0.50 × [0.40, 0.60] " in text


def test_a_result_of_another_processor_is_refused_by_name(tmp_path):
    write_json(tmp_path / "this-one/startup.json", MACHINE | made_up()["startup"])
    with pytest.raises(UserError, match="measured on a processor; move it to a-processor/"):
        write_report(tmp_path)


def test_a_parts_result_lies_in_its_processors_folder(tmp_path):
    target = result_file(tmp_path, "toy")
    assert run_part("toy", lambda quick, other: {"rows": [quick, other]}, ["x", "--out", str(target)], ["other"]) == 0
    record = read_json(target)
    assert record["rows"] == [False, "x"] and folder_name(record["cpu"]) == target.parent.name
    assert folder_name("AMD EPYC (family 25, model 1)") == "amd-epyc-family-25-model-1"


@pytest.mark.parametrize("damage", ["{", "[]", json.dumps({"rows": 3})])
def test_a_damaged_result_is_one_line(tmp_path, damage):
    (tmp_path / "some").mkdir()
    (tmp_path / "some/growth.json").write_text(damage)
    with pytest.raises(UserError, match=r"growth\.json") as raised:
        write_report(tmp_path)
    assert "\n" not in str(raised.value)


def test_nothing_measured_and_unknown_parts_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="no results"):
        write_report(tmp_path)
    assert main(["speed"]) == 2
    assert "no part 'speed'" in capsys.readouterr().err
    assert main(["versions"]) == main(["versions", "a", "b"]) == 2
    assert "give one other checkout" in capsys.readouterr().err
    assert main(["growth", "versions"]) == 2
