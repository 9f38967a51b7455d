"""Loading: the implementation that the study names, the tokenizer of a folder, or one line that says why not."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hdpo.model.loading import hub_commit, load_policy, load_tokenizer
from hdpo.model.small.decoder import Decoder
from hdpo.model.tokenizer import encode
from hdpo.model.transformers_model import TransformersModel
from hdpo.system.errors import UserError


def test_the_implementation_is_the_one_that_is_asked_for(base_folder):
    assert type(load_policy(base_folder)) is TransformersModel
    assert type(load_policy(base_folder, implementation="transformers")) is TransformersModel
    assert type(load_policy(base_folder, implementation="small")) is Decoder


@pytest.mark.parametrize(
    ("options", "config", "line"),
    [
        ({"dtype": "bfloat16"}, {}, "computes in float32, and model.dtype is bfloat16"),
        ({"gradient_checkpointing": True}, {}, "keeps all activations, and train.gradient_checkpointing is true"),
        ({}, {"model_type": "llama"}, "reads a Qwen2 folder with one model.safetensors, and .*/model is none"),
    ],
)
def test_what_the_small_implementation_cannot_do_is_one_line(base_folder, tmp_path, options, config, line):
    shutil.copytree(base_folder, tmp_path / "model")
    file = tmp_path / "model/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    expected = rf"^model\.implementation small {line}; set model\.implementation: transformers$"
    with pytest.raises(UserError, match=expected):
        load_policy(tmp_path / "model", implementation="small", **options)


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_config_is_one_line_in_both(base_folder, tmp_path, content):
    shutil.copytree(base_folder, tmp_path / "model")
    (tmp_path / "model/config.json").write_text(content)
    for implementation in ("small", "transformers"):
        with pytest.raises(UserError, match=r"model.*config\.json|model .*cannot be loaded"):
            load_policy(tmp_path / "model", implementation=implementation)


def test_saved_weights_have_the_names_of_transformers(base_folder, tmp_path):
    """Without and with weights given under the model's own parameter names, as a run's end gives them."""
    expected = load_file(base_folder / "model.safetensors")
    for implementation in ("small", "transformers"):
        model = load_policy(base_folder, implementation=implementation)
        doubled = {name: 2 * value.detach() for name, value in model.named_parameters()}
        for state_dict, factor in ((None, 1), (doubled, 2)):
            model.save_pretrained(tmp_path / f"{implementation}-{factor}", state_dict=state_dict)
            found = load_file(tmp_path / f"{implementation}-{factor}/model.safetensors")
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], factor * expected[name]) for name in expected)


def test_flash_attention_that_is_not_installed_is_one_line(base_folder, monkeypatch):
    monkeypatch.setattr("hdpo.model.loading.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"model\.attention flash_attention_2: the package flash-attn is not installed"):
        load_policy(base_folder, "bfloat16", "flash_attention_2")


def test_saved_tokenizer_reads_and_writes_as_before_saving(base_folder):
    """A Qwen2 folder makes AutoTokenizer swap in another tokenizer, whose text the verifier would reject."""
    texts = ["3 * 4 = 12 , 12 + 6 = 18", "7 > 9 ?", ""]
    tokenizer = load_tokenizer(base_folder)
    ids = encode(tokenizer, texts)
    assert tokenizer.batch_decode([row.tolist() for row in ids]) == texts
    ended = [*ids[0].tolist(), tokenizer.eos_token_id, 0, 0]
    assert tokenizer.batch_decode([ended], skip_special_tokens=True) == texts[:1]


def test_the_short_way_to_the_tokenizer_equals_transformers(base_folder, tmp_path):
    from transformers import PreTrainedTokenizerFast

    texts = ["3 * 4 = 12 , 12 + 6 = 18 <eos>", "what is this ?", ""]
    load_tokenizer(base_folder).save_pretrained(tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    ids = theirs(texts, add_special_tokens=False)["input_ids"]
    assert ours(texts)["input_ids"] == ids and len(ours) == len(theirs) and ours.eos_token_id == theirs.eos_token_id
    assert encode(ours, []) == encode(theirs, []) == []  # as on a step without cliffs, which has no hint to read
    for skip in (False, True):
        decoded = theirs.batch_decode(ids, skip_special_tokens=skip)
        assert ours.batch_decode(ids, skip_special_tokens=skip) == decoded


def test_missing_model_is_one_clear_line(tmp_path):
    for load in (load_policy, load_tokenizer):
        with pytest.raises(UserError, match=r"no (config|tokenizer)\.json there"):
            load(tmp_path / "nowhere")


def test_a_revision_of_the_hub_is_loaded_and_its_commit_known(base_folder, tmp_path, monkeypatch):
    """A cache as the hub's client lays it out: the tag v1 and a newer main, whose weights are others."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commits = {"main": "a" * 40, "v1": "b" * 40}
    repository = tmp_path / "models--kit--base"
    (repository / "refs").mkdir(parents=True)
    for name, commit in commits.items():
        (repository / "refs" / name).write_text(commit)
        shutil.copytree(base_folder, repository / "snapshots" / commit)
    weights = load_file(base_folder / "model.safetensors")
    changed = {name: value + 1 for name, value in weights.items()}
    save_file(changed, repository / "snapshots" / commits["main"] / "model.safetensors", {"format": "pt"})
    for revision, expected in (("v1", weights), (None, changed)):
        model = load_policy("kit/base", revision=revision)
        assert hub_commit("kit/base", revision) == commits[revision or "main"]
        found = dict(model.weights())["model.norm.weight"]
        assert torch.equal(found, expected["model.norm.weight"])
    for load in (lambda: load_policy("kit/base", revision="v2"), lambda: load_tokenizer("kit/base", "v2")):
        with pytest.raises(
            UserError, match=r"kit/base: cannot be loaded .* give a downloaded folder if there is no net"
        ):
            load()
    shutil.copytree(base_folder, tmp_path / "cut")
    (tmp_path / "cut/model.safetensors").write_bytes((base_folder / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(UserError, match=r"cut: cannot be loaded \([^;]*\)$"):
        load_policy(tmp_path / "cut")
