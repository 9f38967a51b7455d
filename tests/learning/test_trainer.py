"""Properties of the training step: what moves, what must not, and what changes nothing."""

import json
import math
import subprocess
import sys

import pytest
import torch

from hdpo.learning.jsd import top_k_jsd
from hdpo.learning.trainer import NO_DEMONSTRATIONS, Demonstrations, Trainer, learning_rate
from hdpo.model.forward import completion_logits, token_logp
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Rollouts
from hdpo.system.errors import UserError
from hdpo.system.rng import draw_prompts, generator
from hdpo.tasks import Verdict
from hdpo.tasks.countdown import CountdownTask

TIMINGS = ("seconds", "tokens_per_second")


@pytest.fixture
def make_trainer(make_study, base_folder):
    def make(run: str = "hdpo-drifting-0.1", seed: int = 1, **changes) -> Trainer:
        return Trainer(make_study(**{"model__path": str(base_folder)} | changes).run(run, seed))

    return make


def sample(trainer: Trainer, count: int = 4, group: int = 4) -> Rollouts:
    problems = trainer.problems[:count]
    prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(problem) for problem in problems])
    return trainer.sampler.sample(prompts, group, 1.0, generator(0, "test"))


def demonstrate(trainer: Trainer, count: int = 3) -> Demonstrations:
    """A filtered set made by hand: each problem's reference chain, which is correct, as if the teacher drew it."""
    problems = trainer.problems[:count]
    completions = encode(trainer.tokenizer, [problem.hint + " <eos>" for problem in problems])
    assert all(trainer.task.reward(problem, problem.hint) == 1 for problem in problems)
    student, teacher = (
        Sequences(encode(trainer.tokenizer, [prompt(problem) for problem in problems]), completions)
        for prompt in (trainer.task.student_prompt, trainer.task.privileged_prompt)
    )
    return Demonstrations(student, teacher, len(problems), 0)


def gradients(trainer: Trainer, rollouts: Rollouts, advantages: torch.Tensor, demonstrations: Demonstrations) -> dict:
    """Gradients of one update, caught before clipping and the optimiser step."""
    caught = {}

    def catch(*_):
        for name, parameter in trainer.policy.named_parameters():
            caught[name] = parameter.grad.clone()
        return torch.tensor(0.0)

    before = torch.nn.utils.clip_grad_norm_
    torch.nn.utils.clip_grad_norm_ = catch
    try:
        trainer.update(rollouts, advantages, demonstrations)
    finally:
        torch.nn.utils.clip_grad_norm_ = before
    return caught


def test_on_an_all_fail_group_grpo_has_no_gradient_and_hdpo_has_one(make_trainer):
    trainer = make_trainer()
    rollouts, cliff = sample(trainer), torch.zeros(16)  # the advantages of an all-fail group
    grpo = gradients(trainer, rollouts, cliff, NO_DEMONSTRATIONS)
    assert all(gradient.abs().max() == 0 for gradient in grpo.values())
    hdpo = gradients(make_trainer(), rollouts, cliff, demonstrate(trainer))
    assert all(gradient.abs().max() > 0 for gradient in hdpo.values())


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


def test_distillation_is_weighted_by_lambda_and_adds_to_grpo(make_trainer):
    trainer = make_trainer()
    rollouts, demonstrations = sample(trainer), demonstrate(trainer)
    advantages = torch.randn(16, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(16)
    policy = gradients(make_trainer(), rollouts, advantages, NO_DEMONSTRATIONS)
    small = gradients(make_trainer("hdpo-drifting-0.1"), rollouts, nothing, demonstrations)
    large = gradients(make_trainer("hdpo-drifting-1"), rollouts, nothing, demonstrations)
    both = gradients(make_trainer("hdpo-drifting-0.1"), rollouts, advantages, demonstrations)
    for name in policy:
        assert torch.allclose(large[name], 10 * small[name], rtol=1e-3, atol=1e-7)
        assert torch.allclose(both[name], policy[name] + small[name], rtol=1e-3, atol=1e-6)


def test_distillation_moves_the_student_towards_the_teacher(make_trainer):
    trainer = make_trainer("hdpo-frozen-1", train__optimizer__learning_rate=1e-3, train__optimizer__warmup_steps=0)
    rollouts, demonstrations = sample(trainer), demonstrate(trainer)
    jsd = [trainer.update(rollouts, torch.zeros(16), demonstrations)["distill_loss"] for _ in range(30)]
    assert jsd[-1] < 0.7 * jsd[0]


def test_lambda_zero_is_grpo_bit_for_bit_and_loads_no_teacher(make_trainer, trained_base):
    grpo, zero, hdpo = (
        make_trainer(run, model__path=str(trained_base)) for run in ("grpo", "hdpo-frozen-0", "hdpo-frozen-1")
    )
    assert zero.teacher is None
    assert grpo.run.hash == zero.run.hash
    records = [[{k: v for k, v in t.step(s).items() if k not in TIMINGS} for s in range(3)] for t in (grpo, zero)]
    assert records[0] == records[1]
    for a, b in zip(grpo.policy.parameters(), zero.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert sum(hdpo.step(step)["demonstrations"] for step in range(3)) > 0  # λ > 0 does differ
    pairs = zip(grpo.policy.parameters(), hdpo.policy.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)


def test_policy_gradient_equals_the_textbook_formula(make_trainer):
    """One batch, one plain forward per sequence, token-level mean: −(1/M) Σ A log π."""
    trainer = make_trainer("grpo")
    rollouts = sample(trainer)
    advantages = torch.randn(16, generator=torch.Generator().manual_seed(0))
    advantages[3:6] = 0  # skipped rows must not change anything
    found = gradients(trainer, rollouts, advantages, NO_DEMONSTRATIONS)
    reference = make_trainer("grpo").policy
    loss = 0
    for i, completion in enumerate(rollouts.sequences.completions):
        logits = completion_logits(reference, rollouts.sequences.select([i]))
        loss = loss - advantages[i] * token_logp(logits, completion).sum()
    reference.zero_grad()
    (loss / len(rollouts.logp)).backward()
    for name, parameter in reference.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("budget", [1, 40, 150])
def test_micro_batches_change_nothing(make_trainer, budget):
    trainer = make_trainer()
    rollouts, demonstrations = sample(trainer), demonstrate(trainer)
    advantages = torch.randn(16, generator=torch.Generator().manual_seed(0))
    whole = gradients(trainer, rollouts, advantages, demonstrations)
    split = gradients(make_trainer(train__micro_batch_tokens=budget), rollouts, advantages, demonstrations)
    for name in whole:
        assert torch.allclose(whole[name], split[name], rtol=1e-3, atol=1e-6), name


def test_equal_rollouts_count_as_often_as_they_were_drawn(make_trainer):
    """Six rollouts, two of them three times: the gradient of nine, though six go through the network."""
    trainer = make_trainer()
    rollouts, demonstrations = sample(trainer), demonstrate(trainer)
    rows = [0, 1, 1, 1, 2, 3, 3, 3, 4, 5]
    drawn = rollouts.sequences.select(rows)
    index = rollouts.sequences.token_index(rows)
    repeated = Rollouts(drawn, rollouts.logp[index], rollouts.entropy[index])
    assert len(drawn.distinct(list(range(10)))[0]) == 6
    twice = Demonstrations(*(part.select([0, 0, 1]) for part in (demonstrations.student, demonstrations.teacher)), 3, 9)
    advantages = torch.tensor([1.0, -2, -2, -2, 0.5, 1.5, 1.5, 1.5, -1, 0.25])
    found = gradients(trainer, repeated, advantages, twice)
    assert trainer.update(repeated, advantages, twice)["trained_tokens"] == len(index)

    reference = make_trainer()
    policy, teacher = reference.policy, reference.teacher
    loss = 0
    for i, completion in enumerate(drawn.completions):
        logits = completion_logits(policy, drawn.select([i]))
        loss = loss - advantages[i] * token_logp(logits, completion).sum() / len(index)
    for i in range(3):
        with torch.no_grad():
            target = completion_logits(teacher, twice.teacher.select([i]))
        divergence = top_k_jsd(target, completion_logits(policy, twice.student.select([i])), reference.distill.top_k)
        loss = loss + reference.run.distill_weight * divergence.sum() / int(twice.student.lengths.sum())
    policy.zero_grad()
    loss.backward()
    for name, parameter in policy.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-6), name


def test_ratio_is_one_at_first_and_real_afterwards(make_trainer):
    trainer = make_trainer("grpo", train__updates_per_batch=1)
    rollouts, advantages = sample(trainer), torch.tensor([1.0, -1.0] * 8)
    metrics = trainer.update(rollouts, advantages, NO_DEMONSTRATIONS)
    assert metrics["ratio_mean"] == metrics["ratio_max"] == 1.0 and metrics["clip_fraction"] == 0
    assert metrics["trained_tokens"] == len(rollouts.logp) and metrics["logp_gap_max"] < 1e-3
    fast = {"train__optimizer__learning_rate": 0.01, "train__optimizer__warmup_steps": 0}
    metrics = make_trainer("grpo", train__updates_per_batch=3, **fast).update(rollouts, advantages, NO_DEMONSTRATIONS)
    assert metrics["ratio_max"] > 1.2 and metrics["clip_fraction"] > 0


@pytest.mark.parametrize(("cap", "factor"), [(None, 1.0), (3.0, 2.0), (1.5, 1.5)])
def test_a_sampler_that_is_off_by_a_factor_is_corrected_up_to_the_cap(make_trainer, cap, factor):
    """Log-probs of the sampler lowered by ln 2: every token was half as likely to be drawn as the trainer believes."""
    trainer = make_trainer("grpo", train__importance_cap=cap)
    rollouts, advantages = sample(trainer), torch.tensor([1.0, -1.0] * 8)
    lowered = Rollouts(rollouts.sequences, rollouts.logp - math.log(2), rollouts.entropy)
    plain = gradients(make_trainer("grpo"), rollouts, advantages, NO_DEMONSTRATIONS)
    found = gradients(trainer, lowered, advantages, NO_DEMONSTRATIONS)
    for name in plain:
        assert torch.allclose(found[name], factor * plain[name], rtol=1e-3, atol=1e-6), name


def test_an_offloaded_teacher_is_called_for_each_use_and_sent_back(make_trainer, monkeypatch):
    for run, expected in (("hdpo-frozen-0.1", ["cpu"] * 4), ("hdpo-drifting-0.1", [])):
        trainer, moves = make_trainer(run, distill__offload_teacher=True), []
        monkeypatch.setattr(trainer.teacher, "to", lambda device, moves=moves: moves.append(str(device)))
        trainer.teach(list(trainer.problems[:2]), step=0)
        trainer.update(sample(trainer), torch.zeros(16), demonstrate(trainer))
        trainer.update(sample(trainer), torch.zeros(16), NO_DEMONSTRATIONS)
        assert moves == expected  # there and back for the privileged rollouts and for their distributions


class Parrot:
    """A teacher that says what it was shown."""

    def __init__(self, trainer: Trainer, problems: list) -> None:
        self.trainer, self.problems = trainer, problems

    def sample(self, prompts, group, temperature, generator) -> Rollouts:
        said = encode(self.trainer.tokenizer, [p.hint + " <eos>" for p in self.problems for _ in range(group)])
        repeated = [prompt for prompt in prompts for _ in range(group)]
        return Rollouts(Sequences(repeated, said), torch.empty(0), torch.empty(0))


def test_verdicts_and_echoes_reach_the_record_of_a_task_whose_verifier_can_fail(make_trainer, monkeypatch):
    plain = make_trainer().step(0)
    assert not {"verdicts", "privileged_verdicts", "echo_share"} & set(plain)  # Countdown's knows right and wrong
    monkeypatch.setattr(CountdownTask, "verifier_can_fail", True)
    trainer = make_trainer()
    calls, judge = [], trainer.task.judge
    verdicts = [Verdict.CRASHED, Verdict.TIMED_OUT, Verdict.UNPARSABLE, Verdict.UNPARSABLE]
    monkeypatch.setattr(trainer.task, "judge", lambda problems, texts: calls.append(texts) or judge(problems, texts))
    cliffs, group = list(trainer.problems[:3]), trainer.distill.privileged_rollouts
    trainer.teacher_sampler = Parrot(trainer, cliffs)
    taught = trainer.teach(cliffs, 0)
    assert len(calls) == 1 and len(calls[0]) == 3 * group  # all at once: the verifier's processes work side by side
    assert taught.verdicts == {"correct": 3 * group} and taught.echoes == len(taught) == 3 * group
    monkeypatch.setattr(trainer.task, "judge", lambda problems, texts: verdicts + judge(problems[4:], texts[4:]))
    monkeypatch.setattr(trainer, "teach", lambda *_: taught)
    record = trainer.step(0)
    drawn = trainer.train.prompts_per_step * trainer.train.rollouts_per_prompt
    counts = record["verdicts"]
    assert (counts["crashed"], counts["timed_out"], counts["unparsable"]) == (1, 1, 2)
    assert counts["wrong"] + counts.get("correct", 0) == drawn - 4
    assert record["privileged_verdicts"] == {"correct": 3 * group} and record["echo_share"] == 1.0
    json.dumps(record)


def test_gradient_norms_of_the_terms(make_trainer):
    trainer = make_trainer()
    rollouts, demonstrations = sample(trainer), demonstrate(trainer)
    metrics = trainer.update(rollouts, torch.zeros(16), demonstrations)
    assert metrics["grad_norm_policy"] == 0
    assert metrics["grad_norm_distill"] == pytest.approx(metrics["grad_norm"], rel=1e-5)


def test_teach_keeps_correct_privileged_rollouts_under_both_prompts(make_trainer, monkeypatch):
    trainer = make_trainer(distill__privileged_rollouts=3, distill__max_cliffs=2)
    cliffs = list(trainer.problems[:5])
    right = encode(trainer.tokenizer, [problem.hint + " <eos>" for problem in cliffs[:2]])
    wrong = encode(trainer.tokenizer, ["1 + 1 = 2 <eos>"])[0]
    drawn = [right[0], wrong, right[0], wrong, wrong, right[1]]
    prompts_seen = []

    def fake_sample(prompts, group, temperature, random):
        prompts_seen.extend(prompts)
        repeated = [prompt for prompt in prompts for _ in range(group)]
        return Rollouts(Sequences(repeated, drawn), torch.zeros(0), torch.zeros(0))

    monkeypatch.setattr(trainer.teacher_sampler, "sample", fake_sample)
    found = trainer.teach(cliffs, step=0)
    assert trainer.tokenizer.batch_decode([prompt.tolist() for prompt in prompts_seen]) == [
        trainer.task.privileged_prompt(problem)
        for problem in cliffs[:2]  # the cap on cliffs holds
    ]
    assert found.drawn == 6 and len(found) == 3
    for expected, student, teacher, completion in zip(
        (cliffs[0], cliffs[0], cliffs[1]),
        found.student.prompts,
        found.teacher.prompts,
        found.student.completions,
        strict=True,
    ):
        assert trainer.tokenizer.batch_decode([student.tolist()]) == [trainer.task.student_prompt(expected)]
        assert trainer.tokenizer.batch_decode([teacher.tolist()])[0] == trainer.task.privileged_prompt(expected)
        (text,) = trainer.tokenizer.batch_decode([completion.tolist()], skip_special_tokens=True)
        assert trainer.task.reward(expected, text) == 1
    assert found.student.completions is found.teacher.completions


def test_drifting_teacher_is_the_policy_and_frozen_stays(make_trainer):
    assert make_trainer("hdpo-drifting-0.1").teacher_sampler.model is not None
    drifting, frozen = make_trainer("hdpo-drifting-0.1"), make_trainer("hdpo-frozen-0.1")
    assert drifting.teacher is drifting.policy
    before = [parameter.clone() for parameter in frozen.teacher.parameters()]
    frozen.update(sample(frozen), torch.tensor([1.0, -1.0] * 8), demonstrate(frozen))
    assert all(torch.equal(a, b) for a, b in zip(before, frozen.teacher.parameters(), strict=True))
    assert not torch.equal(before[0], next(frozen.policy.parameters()))


def test_a_step_without_any_signal_runs(make_trainer):
    trainer = make_trainer("hdpo-drifting-0.1")
    rollouts = sample(trainer)
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    metrics = trainer.update(rollouts, torch.zeros(16), NO_DEMONSTRATIONS)
    assert (
        metrics["loss"] == metrics["grad_norm"] == 0
        and metrics["trained_tokens"] == 0
        and metrics["ratio_mean"] is None
    )
    decay = 1 - learning_rate(trainer.train.optimizer, 0) * 0  # AdamW at lr of construction: only weight decay acts
    for old, new in zip(before, trainer.policy.parameters(), strict=True):
        assert torch.allclose(new, old * decay, rtol=1e-4)


def test_non_finite_loss_stops_before_the_weights_change(make_trainer):
    trainer = make_trainer("grpo")
    rollouts = sample(trainer)
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    with pytest.raises(UserError, match=r"loss nan .* is not finite"):
        trainer.update(rollouts, torch.full((16,), torch.nan), NO_DEMONSTRATIONS)
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.policy.parameters(), strict=True))


def test_warm_up_is_linear_then_constant(make_study):
    optimizer = make_study(train__optimizer__learning_rate=1e-6, train__optimizer__warmup_steps=50).train.optimizer
    assert learning_rate(optimizer, 0) == pytest.approx(1e-7)
    assert learning_rate(optimizer, 25) == pytest.approx(0.55e-6)
    assert learning_rate(optimizer, 50) == learning_rate(optimizer, 1999) == pytest.approx(1e-6)


def test_prompts_are_paired_across_methods_and_cover_an_epoch(make_trainer):
    drawn = [i for step in range(8) for i in draw_prompts(seed=3, step=step, count=8, total=64)]
    assert sorted(drawn) == list(range(64))
    assert drawn != [i for step in range(8) for i in draw_prompts(seed=4, step=step, count=8, total=64)]
    across = draw_prompts(seed=3, step=1, count=48, total=64)  # crosses into the second epoch
    assert across[:16] == drawn[48:64] and len(set(across[16:])) == 32
    grpo, hdpo = make_trainer("grpo").step(0), make_trainer("hdpo-frozen-0.1").step(0)
    assert grpo["reward"] == hdpo["reward"] and grpo["tokens"]["rollout"] == hdpo["tokens"]["rollout"]


def test_the_optimiser_is_pytorchs_and_leaves_the_compiler_alone():
    program = """
import sys, torch
from hdpo.learning.optimizer import AdamW

def moved(kind):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = kind([weight], lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        (weight**3).sum().backward()
        optimizer.step()
    return weight.detach()

ours = moved(AdamW)
assert "torch._dynamo" not in sys.modules
assert torch.equal(ours, moved(torch.optim.AdamW))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
