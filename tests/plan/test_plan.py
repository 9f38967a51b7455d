"""The plan agrees with the models it describes, with hand counts, and with the runs that were measured."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from hdpo.cli import main
from hdpo.model import forward
from hdpo.plan.cost import (
    Machine,
    disk_bytes,
    run_seconds,
    sampling_flops,
    sampling_seconds,
    study_seconds,
    training_flops,
)
from hdpo.plan.hardware import DEVICES, LEVELS, Device, Use
from hdpo.plan.measured import compare
from hdpo.plan.memory import LOGITS_CHUNK, activations, memory, require_gpu_memory, require_memory, study_memory
from hdpo.plan.page import duration, print_plan, si
from hdpo.plan.shape import KNOWN, Shape, from_config, study_shape
from hdpo.plan.workload import Assumptions, Draw, assumptions, workload
from hdpo.run.train import train_run
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.studies import ROOT

REFERENCE = ROOT / "results/reference/small"
PAPER = "Qwen/Qwen2.5-Math-1.5B-Instruct"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load_study("config/small.yaml")


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.chdir(ROOT)
    return load_study("config/paper.yaml")


def hf_config(shape: Shape, **changes):
    kind = Qwen2Config if shape.bias else LlamaConfig
    return kind(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        tie_word_embeddings=shape.tied,
        **changes,
    )


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_those_of_transformers(name):
    shape = KNOWN[name]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(hf_config(shape))
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert from_config(model.config.to_dict()) == shape


def test_parameters_of_the_papers_model_as_published():
    assert KNOWN[PAPER].parameters == 1_543_714_304  # "1.54B" on its model card
    assert KNOWN["Qwen/Qwen2.5-0.5B-Instruct"].parameters == 494_032_768
    assert KNOWN["HuggingFaceTB/SmolLM2-135M-Instruct"].parameters == 134_515_008


TINY = Shape(300, 32, 80, 3, 4, 2, 8, tied=False, bias=True)


@pytest.fixture
def tiny_model():
    """Eager attention, because torch counts no FLOPs in the CPU's fused one."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(hf_config(TINY), attn_implementation="eager").train()


def test_forward_flops_are_those_that_torch_counts(tiny_model):
    rows, length = 3, 20
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tiny_model(torch.zeros(rows, length, dtype=torch.long))
    # torch counts the whole square of the attention, so every token attends to `length` positions
    assert counter.get_total_flops() == rows * length * (TINY.trunk_flops(length) + TINY.head_flops)


def test_training_is_three_forward_passes_and_four_with_checkpointing(tiny_model):
    counted = []
    for checkpointing in (False, True):
        if checkpointing:
            tiny_model.activation_checkpointing_enable({"use_reentrant": False})
        with FlopCounterMode(display=False) as counter:
            output = tiny_model.base_model(torch.zeros(3, 20, dtype=torch.long), use_cache=False)
            output.last_hidden_state.sum().backward()
        counted.append(counter.get_total_flops())
    forward = 60 * TINY.trunk_flops(20)
    # the second forward pass stops before each layer's last product, which no gradient needs
    assert counted == [3 * forward, 4 * forward - 60 * TINY.layers * 2 * TINY.intermediate * TINY.hidden]


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
    work = workload(paper, assumed, distills=True)
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


def saved_bytes(model, tokens: int) -> int:
    """Bytes that autograd keeps for the backward pass of `tokens` tokens, weights aside, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.base_model(torch.zeros(1, tokens, dtype=torch.long), use_cache=False).last_hidden_state
    assert output.requires_grad
    return sum(kept.values())


def test_activations_are_those_that_autograd_keeps(small):
    shape = Shape(100, 128, 352, 6, 4, 2, 32, tied=True, bias=True)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(hf_config(shape), attn_implementation="sdpa").train()
    study = small.model_copy(update={"train": small.train.model_copy(update={"micro_batch_tokens": 512})})
    planned = activations(study, shape, 4, checkpointing=False)["activations"]
    assert planned == pytest.approx(saved_bytes(model, 512), rel=0.35)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    planned = activations(study, shape, 4, checkpointing=True)["activations, layer inputs"]
    assert planned == pytest.approx(saved_bytes(model, 512), rel=0.35)


def test_tokens_of_the_small_world_by_hand(small):
    """16 prompts × 16 rollouts × 80 steps; of 384 problems a greedy and 8 samples, at steps 0, 20, …, 80."""
    assumed = assumptions(small, "likely")
    assert assumed.response == pytest.approx(0.1 * 6 + 0.42 * 12 + 0.23 * 18 + 0.25 * 24)
    tokens = workload(small, assumed, distills=True).tokens()
    length = assumed.response
    assert tokens["rollout"] == pytest.approx(16 * 16 * 80 * length)
    assert tokens["trained"] == pytest.approx(0.7 * 16 * 16 * 80 * length)
    assert tokens["privileged"] == pytest.approx(0.15 * 16 * 4 * 80 * length)
    assert tokens["distill"] == pytest.approx(0.7 * 0.15 * 16 * 4 * 80 * length)
    assert tokens["evaluation"] == pytest.approx(5 * 384 * 9 * length)
    assert tokens["test"] == pytest.approx(512 * 17 * length)
    grpo = workload(small, assumed, distills=False).tokens()
    assert grpo["privileged"] == grpo["distill"] == 0 and grpo["rollout"] == tokens["rollout"]


# How far the likely plan may be off the committed runs, either way.
FACTORS = {"rollout tokens": 1.1, "trained tokens": 1.15, "privileged tokens": 2, "distill tokens": 2, "seconds": 3}


def test_the_plan_meets_the_measured_runs(small):
    rows = compare(small, REFERENCE / "runs", "cpu")
    assert {row["quantity"] for row in rows} == set(FACTORS)
    for row in rows:
        off = max(row["measured"] / row["planned"], row["planned"] / row["measured"])
        assert off < FACTORS[row["quantity"]], row


def test_planned_memory_meets_the_measured_peak(small):
    peaks = [pd.read_csv(path, sep="\t").max_rss[0] for path in (REFERENCE / "benchmarks").glob("train-*.tsv")]
    planned = study_memory(small, "cpu").needed / 2**20  # Snakemake's benchmark counts in MiB
    assert max(peaks) / 1.5 < planned < 1.5 * max(peaks)


def test_a_damaged_run_is_one_line(small, tmp_path):
    (tmp_path / "a/seed1").mkdir(parents=True)
    (tmp_path / "a/seed1/run.json").write_text('{"run": "grpo", "seed": 1}')
    with pytest.raises(UserError, match=r"run\.json: damaged, 'tokens' is missing"):
        compare(small, tmp_path, "cpu")


def test_a_resumed_or_foreign_run_has_no_time_to_compare(small, tmp_path):
    source = json.loads((REFERENCE / "runs/grpo/seed1/run.json").read_text())
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
            grpo, hdpo = (run_seconds(study, hardware, level, distills) for distills in (False, True))
            assert grpo["privileged"] == grpo["distill"] == 0
            assert all(grpo[phase] <= hdpo[phase] for phase in grpo) and sum(grpo.values()) < sum(hdpo.values())


def with_hardware(study, **changes):
    return study.model_copy(update={"hardware": study.hardware.model_copy(update=changes)})


def test_more_gpus_need_less_memory_each_and_less_time(paper):
    one, eight = with_hardware(paper, gpus=1), with_hardware(paper, gpus=8)
    assert study_memory(eight, "h100").needed < study_memory(one, "h100").needed
    assert study_seconds(eight, "h100", "likely") < study_seconds(one, "h100", "likely")
    found = study_memory(one, "h100").update
    assert found["AdamW moments"] == 8 * 1_543_714_304 and found["gradients"] == 4 * 1_543_714_304


def test_memory_grows_with_the_chunk_of_logits_and_not_with_the_micro_batch_times_vocabulary(paper):
    shape = KNOWN[PAPER]
    larger = paper.model_copy(update={"train": paper.train.model_copy(update={"micro_batch_tokens": 65536})})
    before, after = (activations(study, shape, 2, True)["logits of a chunk"] for study in (paper, larger))
    assert before == after == 3 * 4 * LOGITS_CHUNK and LOGITS_CHUNK == forward.LOGITS_CHUNK
    tiny = Shape(100, 32, 80, 3, 4, 2, 8, tied=True, bias=True)
    assert activations(paper, tiny, 2, True)["logits of a chunk"] == 3 * 4 * paper.train.micro_batch_tokens * 100


def test_too_little_memory_is_one_line_with_the_largest_part(paper):
    study = with_hardware(paper, gpus=1)
    with pytest.raises(UserError, match=r"too little memory: paper needs about .* RTX 4090, 24 GB has 23\.7 usable"):
        require_memory(study_memory(study, "rtx4090"), study)
    require_memory(study_memory(study, "h200"), study)


@pytest.mark.parametrize(
    ("share", "line"),
    [
        (0.4, None),
        # 9 GB beside 1.5 GB of context and the 1,960 bytes below
        (0.9, r"needs about 10\.5 GB .* rollout phase \(largest part: key-value cache, 9\.0\).* has 9\.2 usable;"),
        # 100,000 bytes less 196 of weights and 20,480 of logits (2 × 4 × 256 rows × 10) are 79,324 of cache
        (1e-5, None),
        # 80,000 bytes leave 59,324, and one row of 4,096 tokens at 16 bytes is 65,536
        (8e-6, r"hardware\.rollout_memory 8e-06 of toy is 0\.00 GB too little for vLLM's weights and one row"),
    ],
)
def test_vllms_share_of_a_gpu_by_hand(paper, share, line):
    """98 parameters: 16 bytes each of float32 state, 2 of bfloat16 copy, 2 of frozen teacher, on 10 GB."""
    shape = Shape(10, 2, 3, 2, 1, 1, 2, tied=True, bias=False)
    study = with_hardware(paper, gpus=1, rollout_memory=share)
    found = memory(study, shape, workload(study, assumptions(study, "high"), True), True, 10e9, "toy")
    if share != 8e-6:
        assert shape.parameters == 98 and sum(found.rollout.values()) == 1.5e9 + 20 * 98 + share * 10e9
    assert sum(found.update.values()) < 1.6e9  # vLLM sleeps
    if line is None:
        return require_memory(found, study)
    with pytest.raises(UserError, match=line) as refused:
        require_memory(found, study)
    assert "rollout_memory" in str(refused.value)


def on_a_gpu_of(monkeypatch, size: float) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=size, name="some GPU")
    )


def test_a_gpu_that_is_too_small_is_refused_before_the_first_step(paper, make_study, base_folder, monkeypatch):
    study = with_hardware(paper, gpus=1)
    on_a_gpu_of(monkeypatch, 80e9)
    require_gpu_memory(study.run("hdpo-frozen-0.1", 1))
    on_a_gpu_of(monkeypatch, 24e9)
    with pytest.raises(UserError, match=r"some GPU has 22\.1 usable"):
        require_gpu_memory(study.run("hdpo-frozen-0.1", 1))
    monkeypatch.setattr("hdpo.run.train.Trainer", None)  # nothing is loaded
    on_a_gpu_of(monkeypatch, 1e9)
    with pytest.raises(UserError, match=r"too little memory: smoke needs about .* some GPU has 0\.9 usable"):
        train_run(make_study(model__path=str(base_folder)).run("grpo", 1))


def test_a_run_needs_memory_for_its_own_teacher_alone(paper, monkeypatch):
    """1,543,714,304 bfloat16 weights, 3.1 GB: gone without a frozen teacher, and from the update if it is offloaded."""
    study = with_hardware(paper, gpus=1)
    whole, teacher = study_memory(study, "h200"), 2 * 1_543_714_304
    offloaded = study.model_copy(update={"distill": study.distill.model_copy(update={"offload_teacher": True})})
    found = study_memory(offloaded, "h200")
    assert sum(whole.update.values()) - sum(found.update.values()) == teacher
    assert found.rollout == whole.rollout and found.rollout["frozen teacher"] == teacher
    seen = []
    monkeypatch.setattr("hdpo.plan.memory.require_memory", lambda memory, _: seen.append(memory.rollout))
    on_a_gpu_of(monkeypatch, 80e9)
    for run in ("grpo", "hdpo-drifting-0.1", "hdpo-frozen-0.1"):
        require_gpu_memory(study.run(run, 1))
    assert ["frozen teacher" in parts for parts in seen] == [False, False, True]


def test_nothing_is_said_of_a_model_without_a_plan(paper, monkeypatch):
    on_a_gpu_of(monkeypatch, 1)
    unknown = paper.model_copy(update={"model": paper.model.model_copy(update={"path": "nobody/nothing-1B"})})
    require_gpu_memory(unknown.run("grpo", 1))


def test_gradient_checkpointing_trades_memory_for_time(paper):
    study = with_hardware(paper, gpus=1)
    plain = study.model_copy(update={"train": study.train.model_copy(update={"gradient_checkpointing": False})})
    assert study_memory(study, "h200").needed < study_memory(plain, "h200").needed
    seconds = [run_seconds(one, "h200", "likely", distills=False) for one in (study, plain)]
    assert seconds[0]["update"] > seconds[1]["update"] and seconds[0]["rollout"] == seconds[1]["rollout"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--hardware", "h300"], "hardware 'h300': unknown; choose from cpu, rtx4090"),
        (["--assume", "length=3"], "assumption 'length': unknown; choose from prompt"),
        (["--assume", "cliffs=1.5"], "assumption cliffs: 1.5 is no share"),
        (["--assume", "response=nan"], "assumption response: nan is no number above 0"),
        (["--hardware", "cpu", "--assume", "response=3e9"], "too little memory: paper"),
    ],
)
def test_bad_input_is_one_line(paper, capsys, arguments, line):
    assert main(["plan", "config/paper.yaml", *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_unknown_models_are_one_line(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_layer": 2}')
    for path, line in (("nobody/nothing-1B", "no config.json here"), (str(tmp_path), "not the config of a Llama")):
        study = paper.model_copy(update={"model": paper.model.model_copy(update={"path": path})})
        with pytest.raises(UserError, match=line):
            study_shape(study)


def test_a_replaced_assumption_reaches_every_level_and_the_page(small, capsys):
    for level in LEVELS:
        assert assumptions(small, level, {"response": 10.0}).response == 10
    print_plan(small, None, {"response": 10.0})
    page = capsys.readouterr().out
    assert si(16 * 16 * 80 * 10) in page and "21 training jobs" in page


def test_checkpoints_are_as_large_as_planned(make_study, base_folder):
    study = make_study(model__path=str(base_folder), train__steps=2, train__checkpoint_every=1)
    run = study.run("grpo", 1)
    train_run(run)
    tensors = sum(path.stat().st_size for path in run.state_folder.glob("step-*/*.safetensors"))
    assert tensors * len(study.runs) == pytest.approx(disk_bytes(study)["checkpoints"], rel=0.1)


def test_the_page_on_scale_states_what_the_plan_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "profiles/README.md").read_text()
    rows = {"paper": {"8 × H200": "h200", "8 × H100": "h100", "8 × A100 80 GB": "a100"}}
    rows["gpu1"] = {"RTX 4090": "rtx4090", "A10": "a10", "L4": "l4"}
    for scale, devices in rows.items():
        study = load_study(f"config/{scale}.yaml")
        for label, name in devices.items():
            hours = [study_seconds(study, name, level) * study.hardware.gpus / 3600 for level in LEVELS]
            low, likely, high = (f"{float(f'{hour:.3g}'):,.0f}" if hour >= 20 else f"{hour:.1f}" for hour in hours)
            run = run_seconds(study, name, "likely", distills=True)
            run = duration(sum(run.values()) - run["test"]).replace(".0 min", " min")
            assert f"| {label} | {low}, **{likely}**, {high} | {run} |" in page


def test_figures_read_well():
    assert [si(value) for value in (5.12e8, 2.32e9, 999, 1e18)] == ["512 M", "2.32 G", "999", "1 E"]
    assert [duration(value) for value in (12, 204, 20160)] == ["12 s", "3.4 min", "5.6 h"]
    assert math.isclose(DEVICES["h100"].memory / 1e9, 85.5, abs_tol=0.1)
