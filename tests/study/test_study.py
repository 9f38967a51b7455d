"""Study files: what is refused and in which words; what a run's identity depends on."""

import pytest
import yaml

from hdpo.cli import main
from hdpo.report.hyperparameters import hyperparameter_table
from hdpo.study.identity import weights_hash
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.studies import ROOT, hdpo, write_study


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
    for study in studies:
        for name in ("repeat", "samples"):  # that a scale may leave out
            study.pop(name, None)
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
    assert (train.temperature, train.backend) == (1.0, "vllm")
    assert [run for run in study.runs if run != "grpo"] == [
        f"hdpo-{teacher}-{weight}" for teacher in ("drifting", "frozen") for weight in ("0.01", "0.1")
    ]
    assert all((method.clip, method.baseline) == (0.2, "leave_one_out") for method in study.methods)
    assert all((method.top_k, method.max_cliffs) == (64, 32) for method in study.methods if method.name == "hdpo")
    assert (study.evaluate.every, study.evaluate.ks, study.seeds) == (10, (1, 4, 8), (42,))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train__stesp": 3}, r"train.stesp: unknown key"),
        ({"surprise": 3}, r"surprise: unknown key"),
        ({"task__mixtur": {2: 1.0}}, r"task.mixtur: unknown key"),
        ({"methods": [hdpo(distill_weight=[0.1, -0.1])]}, r"hdpo: distill_weight: .*than or equal to 0, got '-0.1'"),
        ({"methods": [hdpo("melting")]}, r"methods: hdpo: teacher: .*'drifting' or 'frozen', got 'melting'"),
        ({"methods": []}, r"methods: list at least one method"),
        ({"methods": "grpo"}, r"methods: list at least one method"),
        ({"train__steps": "many"}, r"train.steps: .*valid integer, got 'many'"),
        ({"train__steps": 2.5}, r"train.steps: .*valid integer"),
        ({"train__steps": True}, r"train.steps: .*valid integer"),
        ({"methods": [{"method": "grpo", "clip": float("nan")}]}, r"methods: grpo: clip: .*finite"),
        ({"train__optimizer__learning_rate": float("inf")}, r"learning_rate: .*finite"),
        ({"train__rollouts_per_prompt": 1}, r"rollouts_per_prompt: .*greater than or equal to 2"),
        ({"evaluate__ks": [1, 16]}, r"samples is 8, but pass@16 needs that many"),
        ({"evaluate__test_samples": 4}, r"test_samples is 4, but pass@8"),
        ({"task__mixture": {2: 0.5, 3: 0.6}}, r"must sum to 1, they sum to 1.1"),
        ({"task__mixture": {2: 0.5, 7: 0.5}}, r"problem sizes"),
        ({"task__name": "chess"}, r"no task .chess.; Known: countdown"),
        ({"name": "; touch x"}, r"name: .*pattern"),
        ({"name": "../../etc"}, r"name: .*pattern"),
        ({"seeds": []}, r"seeds: give at least one"),
        ({"seeds": [1, 1]}, r"seeds: .*each once"),
        ({"pretrain": None}, r"model.path is null"),
        ({"train__prompts_per_step": 65}, r"larger than task.problems.train"),
        ({"train__max_response_tokens": 64}, r"smaller than model.max_length"),
        ({"pretrain__hint_share": 0.95}, r"must stay below 1"),
        ({"model__attention": "flash_attention_2"}, r"flash_attention_2 wants model.dtype bfloat16 and .*vllm"),
        ({"methods": [{"method": "grpo", "importance_cap": 0.0}]}, r"grpo: importance_cap: .*greater than 0"),
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
def test_bad_values_are_one_line_that_names_the_key(tmp_path, changes, expected, capsys):
    path = write_study(tmp_path, **changes)
    with pytest.raises(UserError, match=expected):
        load_study(path)
    assert main(["summary", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("hdpo: config ") and printed.err.count("\n") == 1 and printed.out == ""


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", ".", "", "a b", "; touch x", "ｘ", "x\n", "a" * 41])
def test_no_study_writes_outside_its_folder(tmp_path, name):
    with pytest.raises(UserError, match="name: "):
        load_study(write_study(tmp_path, name=name))


@pytest.mark.parametrize(("name", "seed"), [("grpo", -1), ("hdpo-frozen-1e999", 1), ("ppo", 1)])
def test_impossible_runs_are_refused(make_study, name, seed):
    with pytest.raises(UserError, match=rf"run '{name}'"):
        make_study().run(name, seed)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hdpo-frozen-0.1+clip=0.3", {}),
        ("hdpo-frozen-0.1+top_k=8", {}),
        ("hdpo-frozen-0.1+tail=paper", {}),
        ("hdpo-frozen-0.2", {}),
        ("hdpo-drifting-0.1", {}),
        ("grpo", {}),
        ("hdpo-frozen-0.1", {"task__seed": 1}),
        ("hdpo-frozen-0.1", {"task__hint": "answer"}),
        ("hdpo-frozen-0.1", {"train__updates_per_batch": 2}),
        ("hdpo-frozen-0.1", {"train__micro_batch_tokens": 999}),
        ("hdpo-frozen-0.1", {"train__log_gradient_norms": False}),
        ("hdpo-frozen-0.1", {"evaluate__every": 2}),
        ("hdpo-frozen-0.1", {"pretrain__steps": 9}),
        ("hdpo-frozen-0.1", {"model__implementation": "transformers"}),
    ],
)
def test_what_decides_the_weights_is_part_of_a_runs_identity(make_study, name, changes):
    assert make_study(**changes).run(name, 1).hash != make_study().run("hdpo-frozen-0.1", 1).hash


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": ["grpo", hdpo(distill_weight=[0.1, 0.7])]},
        {"seeds": [1, 2, 3, 4]},
        {"evaluate__test_samples": 16},
        {"evaluate__ks": [1, 2]},
        {"train__checkpoint_every": 99},
        {"task__problems__test": 40},
        {"name": "elsewhere"},
        {"hardware__memory_mb": 5000},
        {"hardware__offload_teacher": True},
    ],
)
def test_what_does_not_decide_the_weights_is_no_part_of_it(make_study, changes):
    assert make_study(**changes).run("hdpo-frozen-0.1", 1).hash == make_study().run("hdpo-frozen-0.1", 1).hash


def test_a_parameter_counts_whether_stated_or_left_out(make_study):
    stated = make_study(methods=[{"method": "grpo", "clip": 0.2}]).run("grpo", 1)
    assert stated.hash == make_study(methods=["grpo"]).run("grpo", 1).hash
    assert make_study(methods=[hdpo(top_k=8)]).run("grpo", 1).hash == stated.hash


def test_every_run_and_seed_has_its_own_identity_and_folders(make_study):
    study = make_study(methods=["grpo", hdpo(["drifting", "frozen"], [0.0, 0.1])])
    runs = [study.run(name, seed) for name in study.runs for seed in (1, 2)]
    assert len(runs) == 10
    for kind in ("hash", "folder", "state_folder"):
        assert len({getattr(run, kind) for run in runs}) == 10, kind
    assert all(run.state_folder.name == f"{run.name}-seed{run.seed}-{run.hash}-{run.code}" for run in runs)


def test_a_revision_is_part_of_a_runs_identity(make_study, tmp_path):
    hub = {"model__path": "kit/base", "pretrain": None}
    one, other, newest = (
        make_study(**hub | changes) for changes in ({"model__revision": "v1"}, {"model__revision": "v2"}, {})
    )
    assert len({study.run("grpo", 1).hash for study in (one, other, newest)}) == 3
    assert len({study.base_hash for study in (one, other, newest)}) == 3
    with pytest.raises(UserError, match=r"model\.revision is a commit or tag of the hub, but model\.path is no name"):
        make_study(model__revision="v1")
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    paper["task"] |= {"path": "./data", "revision": "v1"}
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(paper))
    with pytest.raises(UserError, match=r"task: revision is a commit or tag of the hub, but path is a place"):
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


def test_runs_are_the_arms_in_the_files_order():
    study = load_study(ROOT / "config/small.yaml")
    hdpo = [f"hdpo-{teacher}-{weight}" for teacher in ("drifting", "frozen") for weight in ("0.01", "0.1", "1")]
    assert study.runs == ["grpo", *hdpo]


def test_the_papers_scale_has_the_papers_values():
    """Whatever the paper or its base framework states, config/paper.yaml has; but for two choices, marked [ours]."""
    table = hyperparameter_table(load_study(ROOT / "config/paper.yaml"))
    ours = {"mass outside top-k": "½·P_rest·ln 2", "test problems, final weights": "2048"}
    assert len(table) > 40
    assert table[table["differs"] != ""].set_index("hyperparameter")["this study"].to_dict() == ours
