"""The comparisons with other people's tools compare like with like."""

import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from benchmarks import peers, rollouts
from benchmarks.phases import update
from benchmarks.trl import TurnTaker, make_trainer
from benchmarks.workload import KitScorer, Size, Work, plain_model, trl_reward, write_study
from hdpo.learning.advantages import group_advantages
from hdpo.learning.trainer import Trainer
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Rollouts
from hdpo.study.study import load_study
from helpers.studies import ROOT

TINY = Size("tiny", hidden=32, layers=2, heads=2, prompts=4, group=4)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A GRPO study on tiny random weights."""
    monkeypatch.chdir(ROOT)
    return load_study(write_study(TINY, tmp_path))


def test_work_counts_only_groups_whose_rewards_differ():
    work = Work(group=2)
    work.note([9, 9, 9, 9], [1, 1, 1, 1])  # the warm-up, not among the last two
    work.note([3, 4, 5, 6], [1, 1, 0, 1])  # 18 tokens, 11 of them in the group with signal
    work.note([1, 1, 2, 2], [0, 0, 0, 0])  # 6 tokens, no signal
    assert work.summary(2) == {"tokens": 12.0, "tokens_with_gradient": 5.5, "reward": 0.375}


def test_random_models_have_the_size_asked_for(study):
    vocabulary, width, inner = 76, 32, 96
    attention = 4 * width * width + 3 * width  # Qwen2 has biases on queries, keys and values
    layer = attention + 3 * width * inner + 2 * width  # gate, up, down; two norms
    model = plain_model(study.base_path)
    assert model.num_parameters() == vocabulary * width + 2 * layer + width  # head tied, one last norm


def test_contenders_get_the_same_reward_for_the_same_answers(monkeypatch):
    monkeypatch.chdir(ROOT)
    trainer = Trainer(load_study("config/small.yaml").run("grpo", 1))
    problems = list(trainer.problems[:3])
    texts = [answer for problem in problems for answer in (problem.hint, problem.hint + " , 1 + 1 = 2")]
    completions = [torch.tensor(ids) for ids in trainer.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    own, work = Size("own", group=2), Work(2)
    kit = KitScorer(trainer.scorer, own, work).judge(problems, completions).rewards
    prompts = [trainer.task.student_prompt(problem) for problem in problems for _ in range(2)]
    theirs = trl_reward(own, trainer.task, problems, work)(prompts, texts, [ids.tolist() for ids in completions])
    assert kit.flatten().tolist() == theirs == [1.0, 0.0] * 3
    assert torch.equal(work.lengths[0], work.lengths[1])


def test_turns_take_one_step_each_and_pass_errors_on():
    class Loop:
        """The part of a trainer that a turn needs: steps, a callback after each, and a failure at the fourth."""

        def __init__(self, callbacks: list[TrainerCallback]) -> None:
            self.callbacks, self.steps = callbacks, 0

        def train(self) -> None:
            for _ in range(3):
                self.steps += 1
                self.callbacks[0].on_step_end(None, None, None)
            raise OSError("disk full")

    turns = TurnTaker(Loop)
    assert turns.trainer.steps == 0
    for step in (1, 2, 3):
        turns.step()
        assert turns.trainer.steps == step
    with pytest.raises(OSError, match="disk full"):
        turns.step()


def test_generate_draws_what_the_kit_draws(study, monkeypatch):
    monkeypatch.setattr(rollouts, "find_spec", lambda name: None)
    torch.manual_seed(0)
    row, *others = rollouts.compare(Size("tiny", hidden=32, layers=2, heads=2, prompts=16, group=16), rounds=2)
    assert row["engine"] == "hdpo" and row["ratio"] == 1
    assert {other["engine"] for other in others} == {"generate()", "generate(), static cache"}
    drawn = 3 * 256  # one round to warm up
    for other in others:
        # Lengths lie in 1..24, so their deviation is below 11.5, and a difference of means below 11.5 √(2/768).
        assert abs(row["mean_length"] - other["mean_length"]) < 4 * 11.5 * math.sqrt(2 / drawn)
        assert row["mean_length"] < 24  # the end token is drawn now and then


def test_lengths_count_the_end_token_and_nothing_after(study):
    class Scripted(torch.nn.Module):
        """Stands in for a model: `generate` returns fixed rows."""

        config = plain_model(study.base_path).config

        def generate(self, input_ids, **_):
            eos = self.config.eos_token_id
            tails = torch.tensor([[7, 8, eos, 0], [7, 8, 9, 9], [eos, 0, 0, 0], [7, eos, 0, 0]])
            return torch.cat([input_ids, tails], 1)

    prompts = [torch.tensor([20, 21]), torch.tensor([22])]
    assert rollouts.generate(Scripted(), prompts, study, group=2)() == [3, 4, 1, 2]


def test_without_trl_one_line_says_so(monkeypatch, capsys, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(peers, "version", missing)
    assert peers.run_part("peers", peers.measure, ["--out", str(tmp_path / "peers.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "peers.json").exists()


def test_trl_computes_the_same_advantages_and_gradient(study, tmp_path):
    """On the same rollouts and rewards the gradient of TRL's step, after clipping, is that of the kit's."""
    pytest.importorskip("trl")
    trainer = Trainer(study.run(study.runs[0], 1))
    rewards, lengths = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1]), torch.arange(1, 17)
    random = torch.Generator().manual_seed(0)
    completions = [torch.randint(2, 76, (length,), generator=random) for length in lengths.tolist()]
    given: dict = {}

    def rollout(prompts: list[str], trl) -> dict:
        """Our completions, and which prompts TRL asked for."""
        ids = trainer.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        given["prompts"] = [torch.tensor(row) for row in ids]
        logprobs = [[0.0] * len(row) for row in completions]
        return {"prompt_ids": ids, "completion_ids": [row.tolist() for row in completions], "logprobs": logprobs}

    class Gradient(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            given["gradient"] = {name: weight.grad.clone() for name, weight in model.named_parameters()}

    trl = make_trainer(study, TINY, 1, 4, tmp_path, Work(4), [Gradient()], rollout_func=rollout)
    trl.reward_funcs = [lambda **_: rewards.tolist()]
    trl.train()

    advantages = group_advantages(rewards.reshape(4, 4), "mean").flatten()
    theirs = torch.tensor(list(trl._logs["advantages"]))
    assert torch.allclose(advantages, theirs, rtol=3e-4)  # TRL adds 1e-4 to a deviation of 0.5, the kit 1e-6

    sequences = Sequences(given["prompts"], completions)
    zeros = torch.zeros(int(lengths.sum()))
    update(trainer, Rollouts(sequences, zeros, zeros), advantages)
    with torch.no_grad():
        for parameter in trainer.policy.parameters():  # saved in place of the weights, under transformers' names
            parameter.copy_(parameter.grad)
    trainer.policy.save_pretrained(tmp_path / "gradient")
    gradient = load_file(tmp_path / "gradient/model.safetensors")
    assert gradient.keys() == given["gradient"].keys()
    for name, expected in given["gradient"].items():
        assert torch.allclose(gradient[name], expected, rtol=1e-3, atol=1e-6), name
    assert max(float(value.abs().max()) for value in gradient.values()) > 1e-3  # and there is one
