"""The small world's model against transformers' Qwen2, and its parts against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from transformers import Qwen2Config, Qwen2ForCausalLM

from hdpo.model.small import onednn
from hdpo.model.small.decoder import Decoder, RMSNorm, SwiGLU
from hdpo.model.transformers_model import TransformersModel


@pytest.fixture(
    params=[(4, 4, True), (4, 2, False), (4, 1, True)], ids=["tied", "grouped-queries-untied", "one-key-head"]
)
def folder(request, tmp_path):
    heads, kv_heads, tied = request.param
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=3,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=40,
        tie_word_embeddings=tied,
        pad_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, or mistakes in them would not show
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(tmp_path)
    return tmp_path


def test_logits_and_gradients_equal_transformers(folder):
    ours, theirs = Decoder.load(folder), Qwen2ForCausalLM.from_pretrained(folder).eval()
    ids = torch.randint(50, (6, 21), generator=torch.Generator().manual_seed(1))
    found, expected = ours.logits(ours(ids)), theirs(input_ids=ids).logits
    assert_close(found.detach(), expected.detach())
    for logits in (found, expected):
        F.cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()
    gradients = dict(theirs.named_parameters())
    for name, theirs_name in (("embedding", "model.embed_tokens.weight"), ("norm", "model.norm.weight")):
        assert_close(dict(ours.named_parameters())[name].grad, gradients[theirs_name].grad)
    for i, layer in enumerate(ours.layers):
        prefix = f"model.layers.{i}."
        assert_close(layer.attention_norm.grad, gradients[prefix + "input_layernorm.weight"].grad)
        assert_close(layer.mlp_norm.grad, gradients[prefix + "post_attention_layernorm.weight"].grad)
        assert_close(layer.out.grad, gradients[prefix + "self_attn.o_proj.weight"].grad)
        assert_close(layer.down.grad, gradients[prefix + "mlp.down_proj.weight"].grad)
        gate_up = [gradients[f"{prefix}mlp.{part}_proj.weight"].grad for part in ("gate", "up")]
        assert_close(layer.gate_up.grad, torch.cat(gate_up))
        values = layer.kv_heads * layer.size  # the last rows of the stack, stored as they are
        assert_close(layer.qkv.grad[-values:], gradients[prefix + "self_attn.v_proj.weight"].grad)
    norm = lambda model: torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])  # noqa: E731
    assert float(norm(ours)) == pytest.approx(float(norm(theirs)), rel=1e-4)  # so queries and keys too


def assert_close(found, expected):
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max())), (found - expected).abs().max()


def test_weights_are_transformers_parameters(folder):
    """By name, shape and value, a tied head once: what another engine is given."""
    theirs = Qwen2ForCausalLM.from_pretrained(folder)
    expected = dict(theirs.named_parameters())
    for model in (Decoder.load(folder), TransformersModel(theirs)):
        found = dict(model.weights())
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_saving_gives_back_the_folder_it_came_from(folder, tmp_path):
    from safetensors.torch import load_file

    Decoder.load(folder).save_pretrained(tmp_path / "copy")
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "copy"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    Qwen2ForCausalLM.from_pretrained(tmp_path / "copy")


@pytest.mark.parametrize("rows", [3, 700])  # below and above the size from which oneDNN multiplies
def test_linear_equals_pytorch_in_double(rows):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, rows, 40), torch.randn(70, 40), torch.randn(70)
    upstream, found = torch.randn(2, rows, 70), []
    assert (x.numel() * 70 >= onednn.SMALLEST) == (rows == 700)
    for linear, dtype in ((onednn.linear, torch.float32), (F.linear, torch.float64)):
        inputs = [tensor.to(dtype).detach().clone().requires_grad_() for tensor in (x, weight, bias)]
        result = linear(*inputs)
        result.backward(upstream.to(dtype))
        found.append([result.detach(), *(tensor.grad for tensor in inputs)])
    for ours, exact in zip(*found, strict=True):
        assert torch.allclose(ours.double(), exact, atol=3e-6 * float(exact.abs().max()))


def test_gradients_of_the_fused_functions():
    """Against finite differences in float64."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 8).double().requires_grad_(), torch.randn(8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: RMSNorm.apply(x, w, 1e-6), (x, weight))
    assert torch.autograd.gradcheck(SwiGLU.apply, (x,))
    expected = F.rms_norm(x, (8,), weight, 1e-6)
    assert torch.allclose(RMSNorm.apply(x, weight, 1e-6), expected)
    gate, up = x.chunk(2, -1)
    assert torch.allclose(SwiGLU.apply(x), F.silu(gate) * up)


def test_folders_of_another_form_are_left_to_transformers(folder):
    import json

    assert Decoder.reads(folder)
    config = json.loads((folder / "config.json").read_text())
    others = ({"model_type": "llama"}, {"hidden_act": "gelu"}, {"use_sliding_window": True})
    for change in (*others, {"rope_parameters": {"rope_type": "yarn"}}):
        (folder / "config.json").write_text(json.dumps(config | change))
        assert not Decoder.reads(folder)
