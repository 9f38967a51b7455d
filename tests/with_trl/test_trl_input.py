"""Bad input to HDPO in TRL is refused in one line, before a model is loaded."""

import inspect

import pytest

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, __version__

from hdpo.system.errors import UserError
from hdpo.trl import HDPOConfig, HDPOTrainer
from hdpo.trl.hints import from_hint
from hdpo.trl.hooks import TESTED

BATCH = {"per_device_train_batch_size": 4, "num_generations": 4, "bf16": False, "use_cpu": True, "report_to": []}
HINTS = Dataset.from_dict({"prompt": ["a", "b"], "hint": ["1", "2"]})
NO_MODEL = "/no such folder"  # loading it would raise another error


def config(**args) -> HDPOConfig:
    return HDPOConfig("out", **BATCH | args)


def refused(match: str, args=None, data=HINTS, **more) -> None:
    with pytest.raises(UserError, match=match):
        HDPOTrainer(NO_MODEL, lambda completions, **_: [0.0], args or config(), data, **more)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ({"use_liger_kernel": True}, "use_liger_kernel"),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4}, r"steps_per_generation \(4\) must equal"),
        ({"gradient_accumulation_steps": 4, "generation_batch_size": 4}, r"steps_per_generation \(1\) must equal"),
        ({"remove_unused_columns": True}, "remove_unused_columns would drop the column 'hint'"),
        ({"distill_weight": -1.0}, "distill_weight"),
        ({"distill_weight": float("nan")}, "distill_weight"),
        ({"teacher": "wise"}, "teacher: expected drifting or frozen, got 'wise'"),
        ({"tail": "none"}, "tail"),
        ({"privileged_rollouts": 0}, "privileged_rollouts"),
        ({"max_cliffs": 0}, "max_cliffs"),
        ({"distill_top_k": 0}, "distill_top_k"),
        ({"hint_template": "{prompt}"}, "hint_template"),
        ({"hint_template": "{prompt} {hint} {x}"}, "hint_template"),
        ({"hint_template": "{prompt {hint}"}, "hint_template"),
    ],
)
def test_arguments_out_of_range_or_against_trls_are_refused(args, match):
    with pytest.raises(UserError, match=match):
        config(**args)


def test_without_weight_trls_own_arguments_are_free():
    config(distill_weight=0.0, gradient_accumulation_steps=2, steps_per_generation=4, remove_unused_columns=True)


def test_data_without_hints_is_refused():
    refused("no column 'hint'", data=Dataset.from_dict({"prompt": ["a"], "answer": ["1"]}))
    refused("no column 'answer'", config(hint_column="answer"))
    refused("row 1 of column 'hint': empty hint", data=Dataset.from_dict({"prompt": ["a", "b"], "hint": ["1", " "]}))
    refused("row 0 of column 'hint': empty hint", data=Dataset.from_dict({"prompt": ["a"], "hint": [None]}))
    refused("no column 'hint'", data=Dataset.from_dict({"prompt": ["a"]}).to_iterable_dataset())


def test_an_empty_hint_of_a_stream_is_refused_when_it_comes():
    prompt = from_hint(config())
    with pytest.raises(UserError, match="hint: empty hint"):
        prompt({"prompt": "a", "hint": ""})
    with pytest.raises(UserError, match="its last message is no text of a user"):
        prompt({"prompt": [{"role": "assistant", "content": "a"}], "hint": "1"})


def test_arguments_of_the_trainer_that_do_not_suit_are_refused():
    with pytest.raises(UserError, match="expected an HDPOConfig, got GRPOConfig"):
        HDPOTrainer(NO_MODEL, None, GRPOConfig("out", **BATCH), HINTS)
    refused("tools", tools=[print])
    refused("rollout_func", rollout_func=print)
    refused("frozen, vLLM and adapters", config(teacher="frozen", use_vllm=True), peft_config=object())


def test_a_good_input_gets_as_far_as_loading_the_model():
    with pytest.raises(Exception, match="no such folder"):
        HDPOTrainer(NO_MODEL, lambda completions, **_: [0.0], config(), HINTS)


def test_another_reward_than_those_given_is_refused(folder, tmp_path):
    from helpers.trl_runs import make

    with pytest.raises(UserError, match="success_reward: expected one of sum_of_six"):
        make(folder, tmp_path, success_reward="right")


def test_a_trl_with_other_hooks_is_refused(monkeypatch):
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda self, model, batch, scale: None)
    refused(r"GRPOTrainer._compute_loss takes \(self, model, batch, scale\), not \(self, model, inputs\)")
    monkeypatch.undo()
    monkeypatch.delattr(GRPOTrainer, "_generate")
    refused(f"TRL {__version__}: GRPOTrainer._generate .* install trl=={TESTED}")


def test_trl_calls_its_hooks_where_hdpo_expects_it():
    """Fails when a new TRL moves a hook, even if its name and parameters stay."""

    def source(name: str) -> str:
        return inspect.getsource(inspect.unwrap(getattr(GRPOTrainer, name)))

    generate = source("_generate_and_score_completions")
    assert "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)" in generate
    assert "self._generate(prompts)" in generate
    assert "return self._compute_loss(model, inputs)" in source("compute_loss")
    assert "rewards_per_func = gather(rewards_per_func)" in source("_calculate_rewards")
    assert "self._pending_extra_logs[column]" in source("_log_completion_extra")
    assert "self.num_generations" in source("_generate") and "self.model_wrapped" in source("_generate_single_turn")
    assert "self._buffered_inputs[self._step % self.args.steps_per_generation]" in source("_prepare_inputs")
    assert __version__ == TESTED
