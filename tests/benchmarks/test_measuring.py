"""What the benchmark measures: operations counted by hand and by PyTorch, turns, fits, memory."""

import mmap
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu, growth, memory, whole
from benchmarks.flops import forward_flops, step_flops
from benchmarks.limits import account, category, medians, operator_seconds
from benchmarks.overhead import at_fraction, straight_line
from benchmarks.startup import parse_import_times
from benchmarks.timing import alternate, ratio
from hdpo.plan.shape import Shape, from_config
from hdpo.system.errors import UserError

# One layer of width 2, feed-forward 3, one head, vocabulary 5: 34 entries in matrices, 56 parameters.
TOY = Shape(5, 2, 3, 1, 1, 1, 2, tied=True, bias=True)


def test_flops_of_a_pass_are_those_that_pytorch_counts(base_folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base_folder, attn_implementation="eager")
    shape, (rows, length) = from_config(model.config.to_dict()), (3, 7)
    ids = torch.zeros(rows, length, dtype=torch.long)
    with FlopCounterMode(display=False) as forward:
        logits = model(ids).logits
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    # Written out, attention multiplies all length² pairs.
    expected = forward_flops(shape, rows * length, rows * length**2, rows * length)
    assert forward.get_total_flops() == expected
    assert backward.get_total_flops() == 2 * expected


def test_flops_of_a_step_by_hand():
    # One prompt of 3 tokens; completions of 2 and 4, of which the second is trained.
    flops = step_flops(TOY, [3], [2, 4], [False, True])
    assert flops == {
        "prefill": 2 * 34 * 3 + 8 * (1 + 2 + 3) + 20,
        "decode": 2 * 34 * (1 + 3) + 8 * (4 + 4 + 5 + 6) + 20 * 4,
        "sampling": 8 * 5 * 6,
        "forward": 2 * 34 * (3 + 3) + 8 * (1 + 2 + 3 + 4 + 5 + 6) + 20 * 4,
        "backward": 2 * 656,
        "optimiser": 16 * 56,
        "rollout attention": 8 * (1 + 2 + 3 + 4 + 4 + 5 + 6),
        "update attention": 3 * 8 * (1 + 2 + 3 + 4 + 5 + 6),
    }


def test_rows_that_are_not_trained_cost_no_update():
    flops = step_flops(TOY, [3, 4], [2, 2, 5, 5], [False] * 4)
    assert flops["forward"] == flops["backward"] == 0 < flops["decode"]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("aten::addmm", "matrix products"),
        ("mkldnn::_linear_pointwise", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::bmm", "attention"),
        ("aten::_fused_adamw_", "optimiser"),
        ("aten::_log_softmax", "softmax and sampling"),
        ("aten::copy_", "copies and indexing"),
        ("aten::index_put_", "copies and indexing"),
        ("aten::mul", "elementwise and norms"),
        ("aten::index_select", "copies and indexing"),
        ("aten::topk", "softmax and sampling"),
        ("aten::select", "dispatch"),
        ("aten::as_strided", "dispatch"),
        ("RMSNorm", "dispatch"),
        ("autograd::engine::evaluate_function: MmBackward0", "dispatch"),
    ],
)
def test_operators_by_what_they_do(operator, expected):
    assert category(operator) == expected


def test_the_account_adds_up_to_the_wall_time():
    a = torch.randn(64, 64)
    kernels = operator_seconds(lambda: (a @ a).softmax(-1))
    parts = account(kernels, wall=0.5, linear_flops=8.0, attention_flops=2.0, rate=100.0, own_rate=50.0)
    assert [part["seconds"] for part in parts[:2]] == pytest.approx([0.1, 0.08])
    assert sum(part["seconds"] for part in parts) == pytest.approx(0.5)
    assert sum(part["share"] for part in parts) == pytest.approx(1.0)
    assert any(part["part"] == "softmax and sampling" and part["seconds"] > 0 for part in parts)


def test_medians_of_nested_records():
    assert medians([{"a": 1.0, "b": {"c": 5}}, {"a": 3.0, "b": {"c": 1}}, {"a": 2.0, "b": {"c": 2, "d": 4}}]) == {
        "a": 2.0,
        "b": {"c": 2, "d": 4},
    }


def test_a_straight_line_is_found_and_a_bent_one_is_not():
    fit = straight_line([0.0, 0.5, 1.0], [0.1, 0.3, 0.5], step=0.2)
    assert fit == pytest.approx(
        {"slope_s": 0.4, "intercept_s": 0.1, "slope_of_step": 2.0, "intercept_of_step": 0.5, "r_squared": 1.0}
    )
    assert straight_line([0.0, 0.5, 1.0], [0.0, 0.0, 1.0], 1.0)["r_squared"] == pytest.approx(0.75)


def test_the_ratio_between_two_fractions():
    rows = [
        {"fraction": f, "ratio": r, "low": r - 0.1, "high": r + 0.2} for f, r in ((0.0, 1.0), (0.5, 1.5), (1.0, 4.0))
    ]
    assert at_fraction(rows, 0.4) == pytest.approx({"fraction": 0.4, "ratio": 1.4, "low": 1.3, "high": 1.6})


def test_exponents_of_powers_and_their_errors():
    sizes = [1.0, 2.0, 4.0, 8.0]
    exact = growth.power_law(sizes, [3 * size**1.5 for size in sizes])
    assert exact["exponent"] == pytest.approx(1.5) and exact["standard_error"] == pytest.approx(0, abs=1e-9)
    # log2 values 0, 1, 1, 2 on 0, 1, 2, 3: slope 3/5; residuals sum to 1/5, so its error is sqrt(0.1 / 5).
    bent = growth.power_law(sizes, [1.0, 2.0, 2.0, 4.0])
    assert bent["exponent"] == pytest.approx(0.6) and bent["standard_error"] == pytest.approx(np.sqrt(0.02))
    assert growth.power_law(sizes[:2], [1.0, 2.0])["standard_error"] is None


def test_growth_points_draw_responses_of_full_length():
    point = growth.measure_point("response length", rounds=1, length=5, group=4)
    assert point["size"] == 5 and point["tokens"] == growth.MIDDLE.prompts * 4 * 5
    assert point["rollout_s"] > point["rollout_linear_s"] > 0 and point["update_s"] > 0


def test_peak_memory_sees_what_was_freed():
    before = growth.reset_peak()
    if before is None:
        pytest.skip("this kernel keeps no resettable peak")
    with mmap.mmap(-1, 40 * 2**20) as pages:  # the system's own; the allocator might have freed memory to give
        pages.write(bytes(40 * 2**20))
    assert growth.peak_memory() - before > 35


def test_import_times_are_read():
    text = "import time: self [us] | cumulative | imported package\nimport time:       250 |       1250 |   torch.nn\n"
    assert parse_import_times(text) == [{"module": "torch.nn", "seconds": 0.00125, "own_seconds": 0.00025}]


def test_alternating_rotates_and_turns_around_the_order_and_keeps_each_round():
    calls = []
    seconds = alternate({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=4)
    assert "".join(calls) == "abc" + "abc" + "cba" + "bca" + "acb"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    assert ratio([2.0, 3.0, 8.0], [1.0, 1.0, 2.0]) == {"ratio": 3.0, "low": 2.0, "high": 4.0}


def test_the_wall_time_of_a_finished_workflow(make_study):
    study = make_study()
    with pytest.raises(UserError, match="run `snakemake --cores all` first"):
        whole.read(study, cores=2)
    (study.root / "benchmarks").mkdir(parents=True)
    # Two jobs of 30 s side by side until second 1030, one of 20 s until 1050, the page at 1060.
    for name, seconds, end in (("train-grpo", 30, 1030), ("train-hdpo", 30, 1030), ("evaluate-grpo", 20, 1050)):
        path = study.root / "benchmarks" / f"{name}.tsv"
        path.write_text(f"s\tmax_rss\n{seconds}\t100\n")
        os.utime(path, (end, end))
    for name in whole.LAST:
        (study.root / name).touch()
        os.utime(study.root / name, (1060, 1060))
    found = whole.read(study, cores=2)
    assert found["wall_s"] == 60 and found["jobs_s"] == 80 and found["other_s"] == 20
    with pytest.raises(UserError, match="not of one run"):  # 80 s of work in 60 s on one core
        whole.read(study, cores=1)
    assert {row["stage"]: row["sum_s"] for row in found["rows"]} == {"evaluate": 20, "train": 60, "all": 80}


def test_the_bound_of_decoding_by_hand():
    # Two rows, prompt 3, response 3: the tokens 1 and 2 read 4 and 5 cached positions of 2·2 values, and all weights.
    assert gpu.decode_bound(TOY, rows=2, prompt=3, response=3, width=2, bandwidth=10.0) == pytest.approx(
        (2 * 56 * 2 + 2 * (4 + 5) * 2 * 2 * 2) / 10
    )


def test_the_gpu_part_runs_on_a_tiny_shape():
    found = gpu.measure_setting(gpu.TINY, {"bfloat16_flops": 1e12, "bytes": 1e11}, quick=True)
    assert found["parameters"] == 107_072  # the shape's own count, as the test of hdpo.plan compares it with torch
    assert found["tokens"] == 4 * 4 * 8 and 0 < found["mfu"] < 1
    assert [row["fraction"] for row in found["overhead"]] == [0, 0.25, 0.5] and found["overhead"][0]["ratio"] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_the_gpu_part_says_so():
    with pytest.raises(UserError, match="no GPU here"):
        gpu.measure(quick=False)


@pytest.mark.slow
def test_a_losss_peak_memory_follows_the_chunk_of_logits():
    """A chunk more of tokens costs next to nothing, each token more in a chunk two float32 rows of logits or more."""

    def peak(tokens: int, chunk: int) -> float | None:
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            return pool.submit(memory.peak_of, "JSD", tokens, chunk).result()

    row = memory.VOCABULARY * 4 / 2**20  # MB
    small, longer, wider = peak(192, 64), peak(256, 64), peak(256, 128)  # larger blocks than malloc keeps
    if small is None:
        pytest.skip("this kernel keeps no peak memory")
    assert abs(longer - small) < 0.2 * 64 * row
    assert wider - longer > 2 * 64 * row
