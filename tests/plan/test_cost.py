"""Time, tokens and disk agree with hand counts, and with the runs that were measured."""

import json

import pyarrow.parquet as pq
import pytest

from hdpo.plan.cost import (
    Machine,
    compare,
    disk_bytes,
    run_seconds,
    sampling_flops,
    sampling_seconds,
    study_seconds,
    training_flops,
)
from hdpo.plan.hardware import DEVICES, LEVELS, Device, Use
from hdpo.plan.shape import Shape
from hdpo.plan.workload import Assumptions, Draw, assumptions, workload
from hdpo.run.train import train_run
from hdpo.system.errors import UserError
from helpers.plans import REFERENCE


def test_flops_of_a_step_by_hand(paper):
    """Two layers of width 2, one head: 2·(2·2·4 + 3·2·3) = 68 FLOPs a layer and token, and 8 per attended position."""
    shape = Shape(10, 2, 3, 2, 1, 1, 2, tied=True, bias=False)
    assert shape.layer_matrix == 34
    assert shape.trunk_flops(0) == 2 * 68 and shape.trunk_flops(5) == 2 * (68 + 4 * 2 * 5)
    assert shape.head_flops == 40 and shape.kv_bytes(2) == 2 * 2 * 2 * 2
    # 3 prompts of 4 tokens, read once; 2 responses each of 6 tokens that see 4 + 3 positions on average
    draw = Draw(3, 2, 4, 6)
    assert sampling_flops(draw, shape) == 3 * (4 * shape.trunk_flops(2) + 40) + 36 * (shape.trunk_flops(7) + 40)
    assumed = Assumptions(4, 5, 6, cliffs=0.5, signal=0.25, privileged_pass=0.5, scored=1)
    work = workload(paper, assumed, paper.methods[1])
    assert work.trained_rows == 512 / 4
    assert work.privileged == Draw(16, 4, 9, 6) and work.distilled_rows == 32
    per_row = 10 * shape.trunk_flops(5) + 6 * 40
    flops = training_flops(work, shape, recomputes=True)
    assert flops["update"] == 128 * 4 * per_row
    assert flops["distill"] == 32 * (4 * per_row + 15 * shape.trunk_flops(7.5) + 6 * 40)


def test_sampling_time_by_hand():
    """Reading is the limit: 100 bytes of weights per pass and 8 of cache per token and position."""
    shape = Shape(10, 2, 3, 2, 1, 1, 2, tied=True, bias=False)
    device = Device("toy", flops=1e12, bandwidth=1000.0, memory=0)
    on = Machine(device, Use(1, 1, 0.5, 0.01), 2, 1, bytes_per_value=2, in_flight=4, recomputes=True, on_gpu=True)
    draw = Draw(4, 4, prompt=4, response=6)  # 16 rows on 2 GPUs: 8 each, 4 at a time, so 2 waves of 6 passes
    passes = 2 * 6 + 6  # and the longest row, twice the mean, alone for 6 more
    reading = (passes * 2 * shape.parameters + 8 * 6 * (4 + 3) * 16) / 500
    assert sampling_seconds(draw, shape, on, max_tokens=100) == pytest.approx(reading + passes * 0.01)
    capped = (12 * 2 * shape.parameters + 8 * 6 * 7 * 16) / 500 + 12 * 0.01
    assert sampling_seconds(draw, shape, on, max_tokens=6) == pytest.approx(capped)
    assert sampling_seconds(Draw(0, 4, 4, 6), shape, on, 100) == 0


def test_countdown_lengths_are_those_of_its_tokenizer(small):
    from hdpo.tasks.countdown import build_tokenizer

    task, tokenizer = small.task.load(small), build_tokenizer()
    problems = task.problems("train")

    def mean(texts):
        return sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]) / len(texts)

    assumed = assumptions(small, "likely")
    plain, hinted = (
        mean([task.student_prompt(p) for p in problems]),
        mean([task.privileged_prompt(p) for p in problems]),
    )
    assert assumed.prompt == pytest.approx(plain, rel=0.01)
    assert assumed.prompt + assumed.hint == pytest.approx(hinted, rel=0.01)
    assert assumed.response == pytest.approx(mean([p.hint for p in problems]) + 1, rel=0.01)


def test_tokens_of_the_small_world_by_hand(small):
    """16 prompts × 16 rollouts × 80 steps; of 384 problems a greedy and 8 samples, at steps 20, 40, 60, 80."""
    assumed = assumptions(small, "likely")
    assert assumed.response == pytest.approx(0.1 * 6 + 0.42 * 12 + 0.23 * 18 + 0.25 * 24)
    tokens = workload(small, assumed, small.methods[1]).tokens()
    length = assumed.response
    assert tokens["rollout"] == pytest.approx(16 * 16 * 80 * length)
    assert tokens["trained"] == pytest.approx(0.7 * 16 * 16 * 80 * length)
    assert tokens["privileged"] == pytest.approx(0.15 * 16 * 4 * 80 * length)
    assert tokens["distill"] == pytest.approx(0.7 * 0.15 * 16 * 4 * 80 * length)
    assert tokens["evaluation"] == pytest.approx(4 * 384 * 9 * length)
    assert tokens["test"] == pytest.approx((2048 * 17 + 0.15 * 2048 * 48) * length)
    grpo = workload(small, assumed, small.methods[0]).tokens()
    assert grpo["privileged"] == grpo["distill"] == 0 and grpo["rollout"] == tokens["rollout"]


# How far the likely plan may be off the committed runs, either way. Some of these were made beside other work, so of
# their times only each arm's shortest counts.
FACTORS = {"rollout tokens": 1.1, "trained tokens": 1.15, "privileged tokens": 2, "distill tokens": 2, "seconds": 3}


def test_the_plan_meets_the_measured_runs(small, tmp_path):
    for row in pq.read_table(REFERENCE / "records.parquet").to_pylist():
        if row["kind"] == "training":
            (tmp_path / row["run"] / str(row["seed"])).mkdir(parents=True)
            (tmp_path / row["run"] / str(row["seed"]) / "run.json").write_text(row["record"])
    rows = compare(small, tmp_path, "cpu")
    assert {row["quantity"] for row in rows} == set(FACTORS)
    longest_first = sorted((row for row in rows if row["quantity"] == "seconds"), key=lambda row: -row["measured"])
    shortest = {row["run"]: row for row in longest_first}  # the last of an arm stays
    for row in [*shortest.values(), *(row for row in rows if row["quantity"] != "seconds")]:
        off = max(row["measured"] / row["planned"], row["planned"] / row["measured"])
        assert off < FACTORS[row["quantity"]], row


def test_a_damaged_run_is_one_line(small, tmp_path):
    (tmp_path / "a/seed1").mkdir(parents=True)
    (tmp_path / "a/seed1/run.json").write_text('{"run": "grpo", "seed": 1}')
    with pytest.raises(UserError, match=r"run\.json: damaged, 'tokens' is missing"):
        compare(small, tmp_path, "cpu")


def test_a_resumed_or_foreign_run_has_no_time_to_compare(small, tmp_path):
    records = pq.read_table(REFERENCE / "records.parquet").to_pylist()
    source = next(json.loads(row["record"]) for row in records if (row["kind"], row["run"]) == ("training", "grpo"))
    for name, change in (("a", {"resumed_after_step": 20}), ("b", {"gpu": "NVIDIA H200"})):
        (tmp_path / name / "seed1").mkdir(parents=True)
        (tmp_path / name / "seed1/run.json").write_text(json.dumps(source | change))
    assert {row["quantity"] for row in compare(small, tmp_path, "cpu")} == {"rollout tokens", "trained tokens"}


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_levels_are_in_order_and_hdpo_costs_more(scale, request):
    study = request.getfixturevalue(scale)
    for hardware in ["cpu"] if scale == "small" else [name for name in DEVICES if name != "cpu"]:
        totals = [study_seconds(study, hardware, level) for level in LEVELS]
        assert 0 < totals[0] < totals[1] < totals[2]
        for level in LEVELS:
            grpo, hdpo = (run_seconds(study, hardware, level, method) for method in study.methods[:2])
            assert grpo["privileged"] == grpo["distill"] == 0
            assert all(grpo[phase] <= hdpo[phase] for phase in grpo) and sum(grpo.values()) < sum(hdpo.values())


def test_checkpoints_are_as_large_as_planned(make_study, base_folder):
    study = make_study(model__path=str(base_folder), train__steps=2, train__checkpoint_every=1)
    run = study.run("grpo", 1)
    train_run(run)
    tensors = sum(path.stat().st_size for path in run.state_folder.glob("step-*/*.safetensors"))
    assert tensors * len(study.runs) == pytest.approx(disk_bytes(study)["checkpoints"], rel=0.1)
