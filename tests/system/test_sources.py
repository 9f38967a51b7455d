"""No source runs what a handed file says: no unpickling, no evaluation, no shell, no code of a model folder."""

import ast
import os
from pathlib import Path

import pytest
import torch

from hdpo.system.errors import UserError
from helpers.studies import ROOT

SOURCES = [path for folder in ("hdpo", "paper", "notebooks") for path in sorted((ROOT / folder).rglob("*.py"))]
FORBIDDEN = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.unsafe_load"}
FORBIDDEN |= {"yaml.full_load", "pandas.read_pickle", "pd.read_pickle", "joblib.load", "tempfile.mktemp", "os.chmod"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def calls(path: Path) -> list[tuple[str, dict[str, ast.expr]]]:
    """Dotted names of a file's calls and imports, with their keyword arguments."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            found.append((ast.unparse(node.func), {word.arg: word.value for word in node.keywords if word.arg}))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found += [(alias.name, {}) for alias in node.names] + [(getattr(node, "module", None) or "", {})]
    return found


def dangers(path: Path) -> list[str]:
    """Calls and imports of a file that could run what a handed file says."""
    found = []
    for name, keywords in calls(path):
        said = {key: ast.unparse(value) for key, value in keywords.items()}
        unsafe_yaml = name in ("yaml.load", "yaml.load_all") and not said.get("Loader", "").endswith("PlainLoader")
        unsafe_numpy = said.get("allow_pickle", "False") != "False"
        remote = said.get("trust_remote_code", "False") != "False" or said.get("shell", "False") != "False"
        if name in FORBIDDEN or name.split(".")[0] in UNPICKLERS or unsafe_yaml or unsafe_numpy or remote:
            found.append(f"{path}: {name} {said}")
    return found


def test_no_source_unpickles_evaluates_or_runs_a_shell():
    assert len(SOURCES) > 50
    assert [danger for path in SOURCES for danger in dangers(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "import pickle",
        "from pickle import loads",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=flag)",
    ],
)
def test_the_search_finds_each_danger(tmp_path, line):
    (tmp_path / "code.py").write_text(line + "\n")
    assert len(dangers(tmp_path / "code.py")) >= 1


def test_models_load_from_safetensors_without_their_code():
    """Each call that picks a class by what a folder says forbids it to bring code, and pickled weights, along."""
    found = [(name, keywords) for path in SOURCES for name, keywords in calls(path) if "from_pretrained" in name]
    open_ended = [(name, keywords) for name, keywords in found if not name.startswith(("Qwen2", "PreTrained"))]
    assert any(name.startswith("AutoModel") for name, _ in open_ended)
    for name, keywords in open_ended:
        assert ast.unparse(keywords["trust_remote_code"]) == "False", name
        assert not name.startswith("AutoModel") or ast.unparse(keywords["use_safetensors"]) == "True", name


def test_a_model_folder_with_pickled_weights_is_refused(tmp_path, base_folder):
    from hdpo.model.loading import load_policy

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((base_folder / "config.json").read_bytes())

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"model .*/model"):
        load_policy(folder)
    assert not (tmp_path / "pwned").exists()
