"""What HDPO in TRL does beside its gradient: GRPO where λ = 0, cliffs, frozen teachers, logs, resuming."""

import copy

import pandas as pd
import pytest
import torch

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from datasets import Dataset
from peft import LoraConfig
from trl import GRPOTrainer

from hdpo.trl import HDPOTrainer
from helpers.trl_runs import Gradients, examples, make

NO_HINT = {"more": {"privileged_prompt": None}}


def weights(trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


class FailsThenKnows:
    """Every rollout fails and every privileged one succeeds: of each step, TRL asks first about the rollouts."""

    __name__ = "fails_then_knows"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, completions, **_) -> list[float]:
        self.asked += 1
        return [float(self.asked % 2 == 0)] * len(completions)


@pytest.mark.parametrize("more", [{}, {"num_iterations": 2}])
def test_without_weight_it_is_trls_grpo_bit_for_bit_and_asks_no_teacher(folder, tmp_path, monkeypatch, more):
    grpo = make(folder, tmp_path, GRPOTrainer, max_steps=4, **more)
    grpo.train()
    for name in ("_demonstrate", "_teacher", "_as_teacher"):
        monkeypatch.setattr(HDPOTrainer, name, None)
    hdpo = make(folder, tmp_path, max_steps=4, distill_weight=0.0, teacher="frozen", **more)
    hdpo.train()
    assert_equal(weights(hdpo), weights(grpo))
    assert hdpo._initial is None
    kept = [[entry.get(key) for key in ("loss", "reward", "entropy", "num_tokens")] for entry in hdpo.state.log_history]
    assert kept == [
        [entry.get(key) for key in ("loss", "reward", "entropy", "num_tokens")] for entry in grpo.state.log_history
    ]


@pytest.mark.parametrize("teacher", ["drifting", "frozen"])
def test_on_failures_only_the_gradient_of_grpo_is_exactly_zero_and_of_hdpo_is_not(folder, tmp_path, teacher):
    norms = {}
    for weight in (0.0, 1.0):
        caught = Gradients()
        args = {"callbacks": [caught], "max_steps": 1, "distill_weight": weight, "teacher": teacher}
        make(folder, tmp_path, reward=FailsThenKnows(), **args).train()
        norms[weight] = max(float(value.abs().max()) for value in caught.updates[0]["gradients"].values())
    assert norms[0.0] == 0
    assert norms[1.0] > 1e-4


def test_a_frozen_teacher_keeps_the_initial_weights_while_the_policy_moves(folder, tmp_path):
    trainer = make(folder, tmp_path, teacher="frozen", reward=FailsThenKnows(), max_steps=3)
    before = weights(trainer)
    trainer.train()
    assert_equal({name: value for name, value in trainer._initial.state_dict().items()}, before)
    moved = weights(trainer)
    assert not torch.equal(moved["model.norm.weight"], before["model.norm.weight"])
    ids = torch.arange(5, 10)[None]
    with torch.no_grad():
        found, policy = trainer._initial(ids).logits, trainer.model(ids).logits
    assert not torch.allclose(found, policy)


def test_adapters_off_are_the_frozen_teacher(folder, tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_dropout=0.5)
    trainer = make(
        folder,
        tmp_path,
        teacher="frozen",
        reward=FailsThenKnows(),
        max_steps=2,
        more={"peft_config": lora},
    )
    assert trainer._initial is None
    base = copy.deepcopy(trainer.model.get_base_model())
    trainer.train()
    ids = torch.arange(5, 10)[None]
    with torch.no_grad(), trainer.model.disable_adapter():
        trainer.model.eval()
        expected = trainer.model(ids).logits
    with torch.no_grad(), trainer._teacher() as teacher:
        assert torch.equal(teacher(ids).logits, expected)
    with torch.no_grad():
        trainer.model.eval()
        assert not torch.allclose(trainer.model(ids).logits, expected)
    assert trainer.state.log_history[0]["hdpo/jsd"] > 0
    assert sum(base.state_dict()[name].ne(value).sum() for name, value in base.state_dict().items()) == 0


def test_privileged_samples_are_in_the_table_of_completions(folder, tmp_path):
    data = examples(folder)
    trainer = make(folder, tmp_path, reward=FailsThenKnows(), data=data, max_steps=1, log_completions=True)
    trainer.train()
    table = pd.read_parquet(next(tmp_path.rglob("completions_*.parquet")))
    assert table["source"].value_counts().to_dict() == {"rollout": 16, "privileged": 24}
    shown = table[table["source"] == "privileged"]
    assert set(shown["prompt"]) <= set(data["shown"])
    assert shown["fails_then_knows"].tolist() == [1.0] * 24
    assert shown["advantage"].isna().all()
    rollouts = table[table["source"] == "rollout"]
    assert set(rollouts["prompt"]) <= set(data["prompt"])
    assert rollouts["advantage"].tolist() == [0.0] * 16


def test_metrics_of_the_rollouts_do_not_mix_with_privileged_ones(folder, tmp_path):
    seen = []

    def reward(completions, log_metric, log_extra, prompts, shown, **_):
        assert len(prompts) == len(shown) == len(completions)
        log_metric("asked about", len(completions))
        log_extra("text", list(completions))
        seen.append(list(prompts))
        return [0.0] * len(completions)

    trainer = make(folder, tmp_path, reward=reward, max_steps=2, log_completions=True)
    trainer.train()
    assert [len(prompts) for prompts in seen] == [16, 24, 16, 24]
    assert set(seen[1]) <= set(examples(folder)["prompt"])  # the student's prompts, though another was shown
    logs = trainer.state.log_history
    assert [entry["asked about"] for entry in logs[:2]] == [16, 16]
    assert [entry["reward"] for entry in logs[:2]] == [0, 0]
    assert logs[1]["hdpo/kept"] == logs[1]["hdpo/tokens"] == 0
    assert logs[1]["hdpo/privileged_pass_rate"] == 0
    table = pd.read_parquet(next(tmp_path.rglob("completions_00002.parquet")))
    assert table["text"].notna().sum() == 16 and len(table) == 40


def test_max_cliffs_bounds_what_the_teacher_is_asked(folder, tmp_path):
    trainer = make(folder, tmp_path, reward=FailsThenKnows(), max_steps=1, max_cliffs=2)
    trainer.train()
    entry = trainer.state.log_history[0]
    assert entry["hdpo/cliffs"] == 4 and entry["hdpo/kept"] == 12


def test_one_of_several_rewards_tells_what_is_right(folder, tmp_path):
    def form(completions, **_):
        return [1.0] * len(completions)

    def right(completions, **_):
        return [0.0] * len(completions)

    def cliffs(**args):
        trainer = make(folder, tmp_path, reward=[form, right], max_steps=1, **args)
        trainer.train()
        return trainer.state.log_history[0]["hdpo/cliffs"]

    assert cliffs() == 0  # the sum is 1 for every completion
    assert cliffs(success_reward="right") == 4
    assert cliffs(success_reward="form") == 0


def test_a_hint_column_and_its_template_make_the_privileged_prompt(folder, tmp_path):
    data = examples(folder).remove_columns("shown")
    args = {"hint_template": "{prompt} ! {hint} ?", "max_steps": 1, "log_completions": True}
    trainer = make(folder, tmp_path, reward=FailsThenKnows(), data=data, **args, **NO_HINT)
    trainer.train()
    table = pd.read_parquet(next(tmp_path.rglob("completions_*.parquet")))
    expected = {f"{row['prompt']} ! {row['hint']} ?" for row in data}
    assert set(table[table["source"] == "privileged"]["prompt"]) <= expected
    assert 0 <= trainer.state.log_history[0]["hdpo/echo_share"] <= 1


def test_conversations_take_the_hint_in_their_last_message(folder, tmp_path):
    prompts = [[{"role": "user", "content": row["prompt"]}] for row in examples(folder)]
    data = Dataset.from_dict({"prompt": prompts, "hint": examples(folder)["hint"]})
    trainer = make(
        folder, tmp_path, reward=FailsThenKnows(), data=data, max_steps=1, hint_template="{prompt} {hint}", **NO_HINT
    )
    trainer.processing_class.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    trainer.train()
    example = data[0]
    shown = trainer._privileged_prompt(example)
    assert shown == [{"role": "user", "content": f"{prompts[0][0]['content']} {example['hint']}"}]
    assert example["prompt"] == prompts[0]  # unchanged
    assert trainer.state.log_history[0]["hdpo/kept"] == 24


@pytest.mark.parametrize("teacher", ["drifting", "frozen"])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(folder, tmp_path, teacher):
    args = {"teacher": teacher, "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = make(folder, tmp_path, **args)
    whole.train()
    resumed = make(folder, tmp_path, **args)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_equal(weights(resumed), weights(whole))
    assert sum(entry.get("hdpo/kept", 0) for entry in whole.state.log_history[2:]) > 0


def test_evaluation_asks_no_teacher_and_adds_nothing_to_its_loss(folder, tmp_path):
    def evaluated(kind, **args):
        trainer = make(
            folder, tmp_path, kind, per_device_eval_batch_size=4, more={"eval_dataset": examples(folder, 4)}, **args
        )
        return trainer.evaluate()

    found, expected = evaluated(HDPOTrainer), evaluated(GRPOTrainer)
    assert found["eval_loss"] == expected["eval_loss"]
    assert found["eval_reward"] == expected["eval_reward"]
    assert not [key for key in found if "hdpo" in key]
