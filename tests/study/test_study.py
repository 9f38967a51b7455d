"""Study files: what is refused and in which words; what a run's identity depends on."""

import pytest
import yaml

from hdpo.cli import main
from hdpo.report.hyperparameters import hyperparameter_table
from hdpo.study.study import load_study, weights_hash
from hdpo.system.errors import UserError
from helpers.studies import ROOT, tiny, write_study


@pytest.mark.parametrize("scale", ["smoke", "small", "tenfold", "gpu1", "paper"])
def test_shipped_studies_are_valid(scale):
    assert load_study(ROOT / f"config/{scale}.yaml").name == scale


def test_scales_differ_only_in_values():
    """The same keys everywhere; only the task's own section is the task's own."""

    def keys(value, prefix=""):
        if not isinstance(value, dict) or prefix.endswith(("mixture.", "task.", "pretrain.")):
            return {prefix}
        return set().union(*(keys(item, f"{prefix}{key}.") for key, item in value.items()))

    studies = [
        yaml.safe_load((ROOT / f"config/{scale}.yaml").read_text()) for scale in ("small", "smoke", "gpu1", "paper")
    ]
    assert all(keys(study) == keys(studies[0]) for study in studies)


def test_paper_scale_has_the_values_of_table_2():
    study = load_study(ROOT / "config/paper.yaml")
    train, optimizer = study.train, study.train.optimizer
    assert study.model.path == "Qwen/Qwen2.5-Math-1.5B-Instruct"
    assert (study.model.dtype, study.model.max_length) == ("bfloat16", 4096)
    assert (study.task.train_share, study.task.seed, study.task.problems.validation) == (0.95, 42, 2048)
    assert optimizer.betas == (0.9, 0.999)
    assert (optimizer.eps, optimizer.learning_rate, optimizer.weight_decay) == (1e-8, 1e-6, 0.01)
    assert (optimizer.max_grad_norm, optimizer.warmup_steps, optimizer.warmup_start) == (1.0, 50, 0.1)
    assert (train.steps, train.prompts_per_step, train.rollouts_per_prompt) == (2000, 32, 16)
    assert (train.clip, train.temperature, train.baseline, train.backend) == (0.2, 1.0, "leave_one_out", "vllm")
    assert study.sweep.distill_weights == (0.01, 0.1)
    assert set(study.sweep.teachers) == {"drifting", "frozen"}
    assert (study.distill.top_k, study.distill.max_cliffs) == (64, 32)
    assert (study.evaluate.every, study.evaluate.ks, study.seeds) == (10, (1, 4, 8), (42,))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__stesp": 3}, r"train.stesp: unknown key"),
        ({"surprise": 3}, r"surprise: unknown key"),
        ({"task__mixtur": {2: 1.0}}, r"task.mixtur: unknown key"),
        ({"sweep__distill_weights": [0.1, -0.1]}, r"sweep.distill_weights.1: .*greater than or equal to 0"),
        ({"sweep__teachers": ["melting"]}, r"sweep.teachers.0: .*'drifting' or 'frozen', got 'melting'"),
        ({"train__steps": "many"}, r"train.steps: .*valid integer, got 'many'"),
        ({"train__steps": 2.5}, r"train.steps: .*valid integer"),
        ({"train__steps": True}, r"train.steps: .*valid integer"),
        ({"train__clip": float("nan")}, r"train.clip"),
        ({"train__optimizer__learning_rate": float("inf")}, r"learning_rate: .*finite"),
        ({"train__rollouts_per_prompt": 1}, r"rollouts_per_prompt: .*greater than or equal to 2"),
        ({"train__rollouts_per_prompt": 2}, r"must be at least 3"),
        ({"evaluate__ks": [1, 16]}, r"samples is 8, but pass@16 needs that many"),
        ({"evaluate__test_samples": 4}, r"test_samples is 4, but pass@8"),
        ({"task__mixture": {2: 0.5, 3: 0.6}}, r"must sum to 1, they sum to 1.1"),
        ({"task__mixture": {2: 0.5, 7: 0.5}}, r"problem sizes"),
        ({"task__name": "chess"}, r"task: .*chess"),
        ({"name": "; touch x"}, r"name: .*pattern"),
        ({"name": "../../etc"}, r"name: .*pattern"),
        ({"seeds": []}, r"seeds: give at least one"),
        ({"seeds": [1, 1]}, r"seeds: .*each once"),
        ({"pretrain": None}, r"model.path is null"),
        ({"train__prompts_per_step": 65}, r"larger than task.problems.train"),
        ({"train__max_response_tokens": 64}, r"smaller than model.max_length"),
        ({"pretrain__hint_share": 0.95}, r"must stay below 1"),
        ({"model__attention": "flash_attention_2"}, r"flash_attention_2 wants model.dtype bfloat16 and .*vllm"),
        ({"train__importance_cap": 0.0}, r"importance_cap: .*greater than 0"),
    ],
)
def test_bad_values_are_one_line_that_names_the_key(tmp_path, changes, expected, capsys):
    path = write_study(tmp_path, **changes)
    with pytest.raises(UserError, match=expected):
        load_study(path)
    assert main(["summary", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("hdpo: config ") and printed.err.count("\n") == 1 and printed.out == ""


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "a: !!python/object/apply:os.system ['true']", "\x00"])
def test_files_that_are_no_study(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config .*study\.yaml"):
        load_study(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_study(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_study(tmp_path / "binary.yaml")


@pytest.mark.parametrize("name", ["hdpo", "hdpo-melting-0.1", "hdpo-frozen--1", "hdpo-frozen-0.1; touch x", "../x"])
def test_unknown_runs_are_refused(make_study, name):
    with pytest.raises(UserError, match=r"expected grpo or hdpo-"):
        make_study().run(name, 1)


@pytest.mark.parametrize(("name", "seed"), [("grpo", -1), ("hdpo-frozen-1e999", 1)])
def test_impossible_runs_are_refused(make_study, name, seed):
    with pytest.raises(UserError, match=rf"run '{name}', seed {seed}: "):
        make_study().run(name, seed)


def test_identity_changes_with_what_matters_to_the_run_and_only_then(make_study):
    run = make_study().run("hdpo-frozen-0.1", 1)
    touching = {"train__clip": 0.3, "distill__top_k": 8, "task__seed": 1, "evaluate__every": 2, "pretrain__steps": 9}
    for key, value in touching.items():
        assert make_study(**{key: value}).run("hdpo-frozen-0.1", 1).hash != run.hash, key
    sparing = {
        "sweep__distill_weights": [0.1, 0.7],
        "seeds": [1, 2, 3, 4],
        "evaluate__test_samples": 32,
        "task__problems__test": 40,
        "name": "elsewhere",
        "hardware__memory_mb": 5000,
    }
    for key, value in sparing.items():
        assert make_study(**{key: value}).run("hdpo-frozen-0.1", 1).hash == run.hash, key
    assert make_study(distill__top_k=8).run("grpo", 1).hash == make_study().run("grpo", 1).hash
    names = {make_study().run(name, seed).hash for name in make_study().runs for seed in (1, 2)}
    assert len(names) == 6


def test_a_revision_is_part_of_a_runs_identity_and_none_is_as_before_there_were_any(make_study, tmp_path):
    hub = {"model__path": "kit/base", "pretrain": None}
    one, other, newest = (
        make_study(**hub | changes) for changes in ({"model__revision": "v1"}, {"model__revision": "v2"}, {})
    )
    assert len({study.run("grpo", 1).hash for study in (one, other, newest)}) == 3
    assert len({study.base_hash for study in (one, other, newest)}) == 3
    assert "revision" not in newest.run("grpo", 1).resolved["model"]
    with pytest.raises(UserError, match=r"model\.revision is a commit or tag of the hub, but model\.path is no name"):
        make_study(model__revision="v1")
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    paper["task"] |= {"path": "./data", "revision": "v1"}
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(paper))
    with pytest.raises(UserError, match=r"task\.revision is a commit or tag of the hub, but task\.path is a place"):
        load_study(tmp_path / "paper.yaml")


def test_other_weights_under_the_same_path_are_another_run(make_study, tmp_path):
    (tmp_path / "model").mkdir()
    hashes = []
    for weights in (b"one", b"two"):
        (tmp_path / "model/model.safetensors").write_bytes(weights)
        weights_hash.cache_clear()
        study = make_study(model__path=str(tmp_path / "model"))
        hashes.append((study.run("grpo", 1).hash, study.base_hash))
    assert hashes[0][0] != hashes[1][0] and hashes[0][1] != hashes[1][1]


def test_runs_are_the_baseline_and_the_sweep():
    study = load_study(ROOT / "config/small.yaml")
    hdpo = [f"hdpo-{teacher}-{weight}" for teacher in ("drifting", "frozen") for weight in ("0.01", "0.1", "1")]
    assert study.runs == ["grpo", *hdpo]
    assert tiny()["name"] == "smoke"


def test_the_papers_scale_has_the_papers_values():
    """Whatever the paper or its base framework states, config/paper.yaml has; but for two choices, marked [ours]."""
    table = hyperparameter_table(load_study(ROOT / "config/paper.yaml"))
    ours = {"mass outside top-k": "½·P_rest·ln 2", "test problems, final weights": "2048"}
    assert len(table) > 40
    assert table[table["differs"] != ""].set_index("hyperparameter")["this study"].to_dict() == ours
