"""Hostile and broken input, in short; `make torture` has the long version of the fuzzing."""

import ast
import contextlib
import html
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, tiny, write_study
from reported_study import set_up_sources
from torture import config_fuzz, nonfinite, verifier_fuzz

from hdpo.learning.metrics import MetricsFile
from hdpo.learning.trainer import NO_DEMONSTRATIONS, Trainer
from hdpo.model.policy import Sequences, encode
from hdpo.report.pdf import write_pdf
from hdpo.report.tables import write_tables
from hdpo.report.web_page import write_page
from hdpo.run.evaluate import Scorer
from hdpo.sampling.sampler import Rollouts
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from hdpo.system.finite import NotFinite, located, require_finite
from hdpo.system.rng import generator

SOURCES = [path for folder in ("hdpo", "paper", "notebooks") for path in sorted((ROOT / folder).rglob("*.py"))]


# Study files.


def test_mutated_studies_plan_or_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_fuzz, "dry_run", lambda *_, **__: None)  # Snakemake: below, and in `make torture`
    rows = config_fuzz.run(quick=True)
    assert [row["lost"] for row in rows] == ["nothing"] * len(rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\n", r"line 2: 'name' is given twice"),
        ("a: {b: 1, c: {d: 1, d: 2}}\n", r"line 1: 'd' is given twice"),
        ("a: &x 1\nb: *x\n", r"line 1: anchors and tags"),
        ("a: !!python/object/apply:os.system ['touch pwned']\n", r"line 1: anchors and tags"),
        ("a: !!bool x\n", r"line 1: anchors and tags"),
        ("a: 0x" + "f" * 5000, r"line 1: an integer of that length"),
        ("a: " + "[" * 9000, r"not valid YAML"),
        ("a: 2001-99-99\n", r"not valid YAML \(month must be"),
        ("'a\\\n  \\e[31m': 1\n", r"config .*study\.yaml: "),
    ],
)
def test_yaml_beyond_plain_values_is_refused_by_line(tmp_path, text, expected):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        load_study(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sweep__distill_weights": [0.1, 0.1]}, r"sweep: distill_weights: give each once"),
        ({"sweep__distill_weights": [0.0, -0.0]}, r"sweep: distill_weights: give each once"),
        ({"sweep__distill_weights": [0.12345678]}, r"0.12345678 has more than six significant digits"),
        ({"sweep__distill_weights": [1e20]}, r"less than 1000000"),
        ({"evaluate__ks": []}, r"ks: give at least one"),
        ({"train__optimizer__betas": [0.9, 1.0]}, r"betas.1: .*less than 1"),
        ({"train__optimizer__learning_rate": "1e-6"}, r"YAML takes 1e-6 for text, write 1.0e-6"),
        ({"model__path": "./\0"}, r"model.path: must be a folder or a hub name"),
        ({"model__path": "o" * 300}, r"model.path: is longer than a path may be"),
        ({"model__path": "./{run}"}, r"model.path: .*without braces"),
        ({"name": "reference"}, r"results/reference/ holds the committed results"),
        ({"seeds": [2**63]}, r"seeds.0: .*less than or equal to"),
        ({"hardware__threads": 10**30}, r"hardware.threads: .*1024"),
    ],
)
def test_values_that_no_run_could_have(tmp_path, changes, expected):
    with pytest.raises(UserError, match=expected):
        load_study(write_study(tmp_path, **changes))


def test_names_of_runs_give_their_weight_back(tmp_path):
    weights = [0.0, 1e-300, 1e-7, 0.1, 0.123456, 3.0, 999999.0]
    study = load_study(write_study(tmp_path, sweep__distill_weights=weights))
    found = {study.run(name, 1).distill_weight for name in study.runs}
    assert found == set(weights) and len(set(study.runs)) == 1 + 2 * len(weights)


@pytest.mark.parametrize("value", ["1", "a{b}.yaml", "bad.yaml", "nowhere.yaml"])
def test_through_snakemake_it_is_one_line_too(tmp_path, value):
    folder = config_fuzz.clone(tmp_path / "clone")
    (folder / "bad.yaml").write_text(yaml.safe_dump(tiny(name="; touch pwned")))
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    (folder / "nowhere.yaml").write_text(yaml.safe_dump(paper | {"task": paper["task"] | {"path": "./nowhere"}}))
    assert config_fuzz.dry_run(folder, value, planned=False) is None
    assert not (folder / "pwned").exists()


def test_a_study_path_with_shell_in_it_reaches_the_command_as_it_is(tmp_path):
    """A real job, with a command in place of `hdpo` that notes what it is given."""
    folder, name = config_fuzz.clone(tmp_path / "clone"), "a b'\"$(touch pwned);`touch pwned`;.yaml"
    (folder / name).write_text(yaml.safe_dump(tiny(name="quoted")))
    outputs = " ".join(f"results/quoted/audit/audit.{kind}" for kind in ("csv", "json", "md"))
    stub = f"#!/bin/sh\nprintf '%s\\n' \"$@\" > given\ntouch {outputs}\n"
    (folder / "tools").mkdir()
    (folder / "tools/hdpo").write_text(stub)
    (folder / "tools/hdpo").chmod(0o755)
    done = config_fuzz.snakemake(folder, name, "--", "results/quoted/audit/audit.csv", tools=str(folder / "tools"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "given").read_text().splitlines() == ["audit", name]
    assert not list(folder.rglob("pwned"))


# Responses.


def test_the_verifier_agrees_with_a_checker_written_apart():
    for row in verifier_fuzz.run(quick=True):
        assert row["lost"] == "nothing", row


# Numbers.


@pytest.fixture
def trainer(make_study, base_folder) -> Trainer:
    return Trainer(make_study(model__path=str(base_folder)).run("hdpo-drifting-0.1", 1))


def rollouts_of(trainer: Trainer, completions: list[list[int]]) -> Rollouts:
    problems = trainer.problems[: len(completions)]
    prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(problem) for problem in problems])
    tokens = [torch.tensor(ids, dtype=torch.long) for ids in completions]
    count = sum(map(len, completions))
    return Rollouts(Sequences(prompts, tokens), torch.zeros(count), torch.zeros(count))


def test_non_finite_numbers_stop_the_run_and_the_checkpoint_carries_on(trained_base):
    for row in nonfinite.run(quick=True, base=trained_base):
        assert row["lost"] == "nothing", row


def test_what_is_not_finite_is_counted_and_located():
    with (
        pytest.raises(NotFinite, match=r"run a step 3: rewards: 2 of 4 not finite \(first: inf\)"),
        located("run a step 3"),
    ):
        require_finite("rewards", torch.tensor([[0.0, math.inf], [math.nan, 1.0]]))
    require_finite("nothing", torch.empty(0))


def test_metrics_refuse_what_json_cannot_hold(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl", b"")
    with pytest.raises(NotFinite, match="metric ratio_max is inf"):
        metrics.write({"step": 0, "ratio_max": math.inf})
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_an_empty_batch_and_no_cliffs_are_steps_without_signal(trainer):
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    empty = trainer.sampler.sample([], 4, 1.0, generator(0, "test"))
    assert len(empty.sequences) == len(empty.logp) == len(empty.entropy) == 0
    found = trainer.update(empty, torch.empty(0), NO_DEMONSTRATIONS)
    assert found["loss"] == found["grad_norm"] == 0 and found["trained_tokens"] == 0
    decay = 1 - trainer.optimizer.param_groups[0]["lr"] * trainer.train.optimizer.weight_decay
    for old, new in zip(before, trainer.policy.parameters(), strict=True):
        assert torch.allclose(new, old * decay)  # AdamW on a zero gradient: decay alone
    assert trainer.teach([], step=0) is NO_DEMONSTRATIONS


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_all_cliffs_without_a_correct_demonstration_and_no_cliffs(trainer, monkeypatch, reward):
    monkeypatch.setattr(type(trainer.task), "reward", lambda *_: reward)
    record = trainer.step(0)
    assert record["cliff_fraction"] == 1 - reward and record["solved_fraction"] == reward
    assert record["demonstrations"] == record["loss"] == record["grad_norm"] == 0
    assert record["privileged_pass_rate"] == (0 if reward == 0 else None)
    assert record["tokens"]["privileged"] > 0 if reward == 0 else record["tokens"]["privileged"] == 0


def test_responses_without_tokens_or_with_one(trainer):
    end = trainer.tokenizer.eos_token_id
    advantages = torch.tensor([1.0, -1.0, 0.5])
    mixed = trainer.update(rollouts_of(trainer, [[], [end], [14, end]]), advantages, NO_DEMONSTRATIONS)
    assert mixed["trained_tokens"] == 3 and math.isfinite(mixed["loss"]) and mixed["grad_norm"] > 0
    # π = π_old on the first update, so each token's loss is −A: (1 − 0.5 − 0.5) / 3 tokens.
    assert mixed["policy_loss"] == pytest.approx(0.0, abs=1e-6)
    none = trainer.update(rollouts_of(trainer, [[], []]), torch.tensor([1.0, -1.0]), NO_DEMONSTRATIONS)
    assert none["trained_tokens"] == none["loss"] == 0
    scores = Scorer(trainer.task, trainer.tokenizer).score(
        list(trainer.problems[:2]), [torch.tensor([end]), torch.tensor([], dtype=torch.long)]
    )
    assert scores.tolist() == [[0.0], [0.0]]


# What is shown.


def test_a_page_embeds_no_image_from_elsewhere(enter_copy, reported_folder):
    study = enter_copy(reported_folder)
    source = next((study.root / "figures").glob("*.png"))
    for name in ("private.png", "private.pdf"):
        Path(name).write_bytes(source.read_bytes())
    for kind in ("png", "pdf"):
        (study.root / "audit" / f"private.{kind}").symlink_to(Path(f"private.{kind}").absolute())
    for write in (write_page, write_pdf):
        with pytest.raises(UserError, match=r"private\.png: outside results"):
            write(study)


def test_a_hostile_model_path_is_text_in_every_form(tmp_path, monkeypatch):
    path = r"./<script>alert(1)</script> \input x $x$ #panic() *b* | % & _ ~ ^"
    monkeypatch.chdir(tmp_path)
    set_up_sources(tmp_path)
    study = load_study(write_study(tmp_path, name="shown", model__path=path, pretrain=None))
    write_tables(study)
    shown = r"/script\textgreater{} \textbackslash{}input x \$x\$ \#panic() *b* \textbar{} \% \& \_ \textasciitilde{}"
    assert shown in (study.root / "tables/table2.tex").read_text()
    text = write_page(study).read_text()
    assert "<script>alert" not in text and html.escape("<script>alert(1)</script>") in text
    assert write_pdf(study).read_bytes().startswith(b"%PDF")


# What could run code, or lead out of the results folder.


def calls(path: Path) -> list[tuple[str, dict[str, ast.expr]]]:
    """Dotted names of a file's calls and imports, with their keyword arguments."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            found.append((ast.unparse(node.func), {word.arg: word.value for word in node.keywords if word.arg}))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found += [(alias.name, {}) for alias in node.names] + [(getattr(node, "module", None) or "", {})]
    return found


FORBIDDEN = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.unsafe_load"}
FORBIDDEN |= {"yaml.full_load", "pandas.read_pickle", "pd.read_pickle", "joblib.load", "tempfile.mktemp", "os.chmod"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


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
def test_that_search_finds_each_danger(tmp_path, line):
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


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", ".", "", "a b", "; touch x", "ｘ", "x\n", "a" * 41])
def test_no_study_writes_outside_its_folder(tmp_path, name):
    with pytest.raises(UserError, match="name: "):
        load_study(write_study(tmp_path, name=name))


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_written_files_have_the_permissions_of_the_umask(tmp_path, mask, file, folder):
    code = (
        "from hdpo.system.files import write_atomic, write_json\n"
        "write_json('out/deep/a.json', {})\n"
        "write_atomic('out/model', lambda folder: (folder.mkdir(), (folder / 'w').write_text('x')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, umask=mask, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = list((tmp_path / "out").rglob("*"))
    assert len(written) == 4
    for path in [tmp_path / "out", *written]:
        assert stat.S_IMODE(path.stat().st_mode) == (folder if path.is_dir() else file), path


def test_writing_replaces_a_link_and_spares_what_it_points_to(tmp_path):
    from hdpo.system.files import write_json

    (tmp_path / "precious").write_text("kept")
    (tmp_path / "out.json").symlink_to(tmp_path / "precious")
    with contextlib.chdir(tmp_path):
        write_json("out.json", {"a": 1})
    assert (tmp_path / "precious").read_text() == "kept" and not (tmp_path / "out.json").is_symlink()
