"""Loading: what lies in a folder decides which model and tokenizer come of it, or the one line that says why not."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from hdpo.model.loading import hub_commit, load_policy, load_tokenizer
from hdpo.model.policy import encode
from hdpo.model.small.decoder import Decoder
from hdpo.system.errors import UserError


def test_a_qwen2_folder_becomes_the_kits_own_decoder(base_folder):
    assert isinstance(load_policy(base_folder), Decoder)
    assert not isinstance(load_policy(base_folder, "bfloat16"), Decoder)


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
        found = dict(model.named_parameters())["model.norm.weight"]
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
