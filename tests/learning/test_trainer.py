"""The trainer: the same prompts and rollouts for every method of a seed, and weights that move only in an update."""

import json
import zlib
from itertools import chain

import torch

from hdpo.learning.metrics import StepLog
from hdpo.system.rng import draw_prompts
from helpers.steps import timeless


def test_the_sampler_sleeps_before_the_weights_change(make_trainer, monkeypatch):
    """A sampler that holds a copy of the weights drops it there: between two updates they may not move."""
    trainer, seen = make_trainer(), []
    monkeypatch.setattr(trainer.sampler, "sleep", lambda: seen.append(trainer.policy.embedding.detach().clone()))
    before = trainer.policy.embedding.detach().clone()
    trainer.step(0)
    after = trainer.policy.embedding.detach().clone()
    trainer.step(1)
    assert torch.equal(seen[0], before) and torch.equal(seen[1], after) and not torch.equal(before, after)
    assert len(seen) == 2


def test_prompts_are_paired_across_methods_and_cover_an_epoch(make_trainer):
    drawn = [i for step in range(8) for i in draw_prompts(seed=3, step=step, count=8, total=64)]
    assert sorted(drawn) == list(range(64))
    assert drawn != [i for step in range(8) for i in draw_prompts(seed=4, step=step, count=8, total=64)]
    across = draw_prompts(seed=3, step=1, count=48, total=64)  # crosses into the second epoch
    assert across[:16] == drawn[48:64] and len(set(across[16:])) == 32
    grpo, hdpo = make_trainer("grpo").step(0), make_trainer("hdpo-frozen-0.1").step(0)
    assert grpo["reward"] == hdpo["reward"] and grpo["tokens"]["rollout"] == hdpo["tokens"]["rollout"]


def test_further_draws_of_a_step_are_others_and_change_no_first_one(make_trainer):
    first, *further = [draw_prompts(seed=3, step=5, count=8, total=64, draw=draw) for draw in range(10)]
    assert first == draw_prompts(seed=3, step=5, count=8, total=64)
    assert sorted([*first, *chain(*further[:7])]) == list(range(64))  # each once, then from the start
    assert sorted(further[7]) == sorted(first) and further[8] == further[0]
    assert further[0] != draw_prompts(seed=3, step=6, count=8, total=64, draw=1)
    assert sorted(draw_prompts(seed=3, step=0, count=4, total=4, draw=1)) == list(range(4))  # no others are there
    trainer, other = make_trainer("grpo"), make_trainer("hdpo-frozen-0.1")
    for step in (0, 1):
        trainer.t, trainer.log = step, StepLog()
        other.t, other.log = step, StepLog()
        draws = [[problem.id for problem in trainer.draw()] for _ in range(3)]
        assert draws[0] == [trainer.problems[i].id for i in draw_prompts(1, step, len(draws[0]), len(trainer.problems))]
        assert len(set(chain(*draws))) == 3 * trainer.settings.prompts_per_step
        assert draws == [[problem.id for problem in other.draw()] for _ in range(3)]


def test_a_method_may_draw_and_sample_more_than_once_in_a_step(make_trainer, monkeypatch):
    """Each draw of rollouts has random numbers of its own. Tokens are those of all, rewards those of the first."""
    trainer = make_trainer("grpo")
    monkeypatch.setattr(trainer.task, "reward", lambda problem, text: float(zlib.crc32(text.encode()) % 2))
    trainer.t = 0
    problems = trainer.draw()
    first, second = trainer.sample(problems), trainer.sample(problems)
    assert [c.tolist() for c in first.sequences.completions] != [c.tolist() for c in second.sequences.completions]
    again = make_trainer("grpo")
    assert torch.equal(again.sample(again.draw()).logp, first.logp)
    rewards = [trainer.score(problems, rollouts).mean() for rollouts in (first, second)]
    for _ in trainer.updates():
        pass
    record = timeless(trainer.log.record(0))
    assert record["reward"] == float(rewards[0]) != float(rewards[1])
    assert record["tokens"]["rollout"] == len(first.logp) + len(second.logp)


def test_a_step_without_an_update_is_logged_without_losses(make_trainer, monkeypatch):
    trainer = make_trainer("grpo", train__log_gradient_norms=False)
    usual = trainer.step(0)

    def only_look(self, trainer):
        problems = trainer.draw()
        trainer.score(problems, trainer.sample(problems))

    monkeypatch.setattr(type(trainer.method), "step", only_look)
    seen = json.loads(json.dumps(trainer.step(1)))
    assert usual.keys() - seen.keys() == {"policy_loss"} and seen.keys() < usual.keys()
    assert [seen[name] for name in ("loss", "grad_norm", "ratio_mean", "learning_rate")] == [None] * 4
    assert 0 <= seen["reward"] <= 1 and seen["tokens"]["rollout"] > seen["tokens"]["trained"] == 0
    monkeypatch.setattr(type(trainer.method), "step", lambda self, trainer: None)
    assert trainer.step(2)["reward"] is None
