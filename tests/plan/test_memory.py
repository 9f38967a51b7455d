"""Memory agrees with autograd and with measured peaks, and a GPU that is too small is refused."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from hdpo.methods.hdpo_variant import HDPOVariant
from hdpo.model import forward
from hdpo.plan.cost import (
    run_seconds,
    study_seconds,
)
from hdpo.plan.memory import LOGITS_CHUNK, activations, memory, require_gpu_memory, require_memory, study_memory
from hdpo.plan.shape import KNOWN, Shape
from hdpo.plan.workload import assumptions, workload
from hdpo.run.train import train_run
from hdpo.system.errors import UserError
from helpers.plans import PAPER, REFERENCE, hf_config, with_hardware


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


def test_planned_memory_meets_the_measured_peak(small):
    peaks = [
        pd.read_csv(path, sep="\t").max_rss[0] for path in (REFERENCE.parent / "earlier/benchmarks").glob("train-*.tsv")
    ]
    planned = study_memory(small, "cpu").needed / 2**20  # Snakemake's benchmark counts in MiB
    assert max(peaks) / 1.5 < planned < 1.5 * max(peaks)


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
    found = memory(study, shape, workload(study, assumptions(study, "high"), study.methods[1]), True, 10e9, "toy")
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
    found = study_memory(with_hardware(study, offload_teacher=True), "h200")
    assert sum(whole.update.values()) - sum(found.update.values()) == teacher
    assert found.rollout == whole.rollout and found.rollout["frozen teacher"] == teacher
    seen = []
    monkeypatch.setattr("hdpo.plan.memory.require_memory", lambda memory, _: seen.append(memory.rollout))
    on_a_gpu_of(monkeypatch, 80e9)
    for run in ("grpo", "hdpo-drifting-0.1", "hdpo-frozen-0.1"):
        require_gpu_memory(study.run(run, 1))
    assert ["frozen teacher" in parts for parts in seen] == [False, False, True]


def test_a_moving_average_is_a_copy_that_stays_where_it_is(paper):
    averaged = {"methods": (HDPOVariant(teacher="ema", distill_weight=0.1),)}
    study = with_hardware(paper, gpus=1, offload_teacher=True).model_copy(update=averaged)
    found = study_memory(study, "h200")
    assert found.rollout["averaged teacher"] == found.update["averaged teacher"] == 2 * 1_543_714_304


def test_nothing_is_said_of_a_model_without_a_plan(paper, monkeypatch):
    on_a_gpu_of(monkeypatch, 1)
    unknown = paper.model_copy(update={"model": paper.model.model_copy(update={"path": "nobody/nothing-1B"})})
    require_gpu_memory(unknown.run("grpo", 1))


def test_gradient_checkpointing_trades_memory_for_time(paper):
    study = with_hardware(paper, gpus=1)
    plain = study.model_copy(update={"train": study.train.model_copy(update={"gradient_checkpointing": False})})
    assert study_memory(study, "h200").needed < study_memory(plain, "h200").needed
    seconds = [run_seconds(one, "h200", "likely", one.methods[0]) for one in (study, plain)]
    assert seconds[0]["update"] > seconds[1]["update"] and seconds[0]["rollout"] == seconds[1]["rollout"]
