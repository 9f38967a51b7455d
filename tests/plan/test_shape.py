"""Parameters and FLOPs are those of the models themselves."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from hdpo.plan.shape import KNOWN, Shape, from_config, study_shape
from hdpo.system.errors import UserError
from helpers.plans import PAPER, hf_config


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


def test_unknown_models_are_one_line(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_layer": 2}')
    for path, line in (("nobody/nothing-1B", "no config.json here"), (str(tmp_path), "not the config of a Llama")):
        study = paper.model_copy(update={"model": paper.model.model_copy(update={"path": path})})
        with pytest.raises(UserError, match=line):
            study_shape(study)
