"""Gradients of one update: what each term adds, what is left out of the network, and what changes nothing."""

import math

import pytest
import torch

from hdpo.learning.jsd import top_k_jsd
from hdpo.learning.teacher import NO_DEMONSTRATIONS, Demonstrations
from hdpo.model.forward import completion_logits, token_logp
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Rollouts
from hdpo.system.errors import UserError
from hdpo.system.rng import generator
from helpers.steps import correct_demonstrations, gradients, sample, update

CLIFF = torch.zeros(4, 4)  # the advantages of groups in which every rollout fails


def some_advantages() -> torch.Tensor:
    return torch.randn(16, generator=torch.Generator().manual_seed(0))


def assert_same_gradients(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.allclose(found[name], expected[name], rtol=1e-3, atol=1e-6), name


def test_distillation_is_weighted_by_lambda_and_adds_to_grpo(make_trainer):
    trainer = make_trainer()
    rollouts, demonstrations, advantages = sample(trainer), correct_demonstrations(trainer), some_advantages()
    policy = gradients(make_trainer(), rollouts, advantages)
    small = gradients(make_trainer("hdpo-drifting-0.1"), rollouts, CLIFF, demonstrations)
    large = gradients(make_trainer("hdpo-drifting-1"), rollouts, CLIFF, demonstrations)
    both = gradients(make_trainer("hdpo-drifting-0.1"), rollouts, advantages, demonstrations)
    assert_same_gradients(large, {name: 10 * gradient for name, gradient in small.items()})
    assert_same_gradients(both, {name: policy[name] + small[name] for name in policy})


def test_distillation_moves_the_student_towards_the_teacher(make_trainer):
    trainer = make_trainer("hdpo-frozen-1", train__optimizer__learning_rate=1e-3, train__optimizer__warmup_steps=0)
    rollouts, demonstrations = sample(trainer), correct_demonstrations(trainer)
    jsd = [update(trainer, rollouts, CLIFF, demonstrations)["distill_loss"] for _ in range(30)]
    assert jsd[-1] < 0.7 * jsd[0]


def test_policy_gradient_equals_the_textbook_formula(make_trainer):
    """One batch, one plain forward pass per sequence, the mean over tokens: −(1/M) Σ A log π."""
    trainer, advantages = make_trainer("grpo"), some_advantages()
    rollouts = sample(trainer)
    advantages[3:6] = 0  # rows that are left out of the network
    found = gradients(trainer, rollouts, advantages)
    reference = make_trainer("grpo").policy
    loss = 0
    for i, completion in enumerate(rollouts.sequences.completions):
        logits = completion_logits(reference, rollouts.sequences.select([i]))
        loss = loss - advantages[i] * token_logp(logits, completion).sum()
    reference.zero_grad()
    (loss / len(rollouts.logp)).backward()
    assert_same_gradients(found, {name: parameter.grad for name, parameter in reference.named_parameters()})


@pytest.mark.parametrize("budget", [1, 40, 150])
def test_micro_batches_change_nothing(make_trainer, budget):
    trainer = make_trainer()
    rollouts, demonstrations, advantages = sample(trainer), correct_demonstrations(trainer), some_advantages()
    whole = gradients(trainer, rollouts, advantages, demonstrations)
    split = gradients(make_trainer(train__micro_batch_tokens=budget), rollouts, advantages, demonstrations)
    assert_same_gradients(split, whole)


def test_equal_rollouts_count_as_often_as_they_were_drawn(make_trainer):
    """Ten rollouts of one group, two of them drawn three times: six go through the network, and ten count."""
    trainer = make_trainer()
    rollouts, demonstrations = sample(trainer), correct_demonstrations(trainer)
    rows = [0, 1, 1, 1, 2, 3, 3, 3, 4, 5]
    drawn, index = rollouts.sequences.select(rows), rollouts.sequences.token_index(rows)
    repeated = Rollouts(drawn, rollouts.logp[index], rollouts.entropy[index])
    assert drawn.distinct(list(range(10))) == ([0, 1, 4, 5, 8, 9], [1, 3, 1, 3, 1, 1])
    both = demonstrations.student, demonstrations.teacher
    twice = Demonstrations(*(part.select([0, 0, 1]) for part in both), drawn=3, drawn_tokens=9)
    advantages = torch.tensor([[1.0, -2, -2, -2, 0.5, 1.5, 1.5, 1.5, -1, 0.25]])
    found = gradients(trainer, repeated, advantages, twice)
    assert update(trainer, repeated, advantages, twice)["trained_tokens"] == len(index)

    reference = make_trainer()
    policy, teacher = reference.policy, reference.teacher.model
    loss = 0
    for i, completion in enumerate(drawn.completions):
        logits = completion_logits(policy, drawn.select([i]))
        loss = loss - advantages[0, i] * token_logp(logits, completion).sum() / len(index)
    for i in range(3):
        with torch.no_grad():
            target = completion_logits(teacher, twice.teacher.select([i]))
        divergence = top_k_jsd(target, completion_logits(policy, twice.student.select([i])), reference.method.top_k)
        loss = loss + reference.method.distill_weight * divergence.sum() / int(twice.student.lengths.sum())
    policy.zero_grad()
    loss.backward()
    assert_same_gradients(found, {name: parameter.grad for name, parameter in policy.named_parameters()})


def test_equal_rollouts_with_other_advantages_are_not_taken_together(make_trainer):
    """The same problem may be drawn twice in a batch, and its groups then have other rewards and advantages."""
    one = sample(make_trainer(), count=1).sequences
    both = one.select([0, 1, 0, 1])
    assert both.distinct([0, 1, 2, 3], [1.0, 2.0, 3.0, 2.0]) == ([0, 1, 2], [1, 2, 1])
    assert both.distinct([0, 1, 2, 3]) == ([0, 1], [2, 2])


def test_a_policy_loss_in_two_terms_is_the_loss_in_one(make_trainer):
    """The second term trains on rows that the first has not seen: π_old is the policy before the update for both."""
    trainer = make_trainer("grpo", train__log_gradient_norms=True)
    rollouts = sample(trainer)
    advantages = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    surrogate, caught = trainer.method.surrogate, []
    for parts in ([advantages], [advantages.clamp_min(0), advantages.clamp_max(0)]):
        trainer = make_trainer("grpo", train__log_gradient_norms=True)
        for learn in trainer.updates():
            for i, part in enumerate(parts):
                learn.policy(surrogate, rollouts, part, name=f"part{i}")
            caught.append([weight.grad.clone() for weight in trainer.learner.weights.values()])
        assert trainer.log.updated["ratio_max"] == 1.0
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*caught, strict=True))


def test_a_loss_that_ignores_advantages_reaches_rollouts_without_one_if_it_says_so(make_trainer):
    norms = []
    for all_rollouts in (False, True):
        trainer = make_trainer("grpo")
        for learn in trainer.updates():
            learn.policy(lambda logp, *_: logp, sample(trainer), torch.zeros(4, 4), all_rollouts=all_rollouts)
        norms.append(trainer.log.updated["grad_norm"])
    assert norms[0] == 0 and norms[1] > 0


def test_two_terms_of_one_name_are_refused(make_trainer):
    trainer = make_trainer("grpo")
    rollouts, learn = sample(trainer), next(trainer.updates())
    learn.policy(trainer.method.surrogate, rollouts, torch.zeros(4, 4))
    with pytest.raises(ValueError, match="two terms of the loss are called 'policy'"):
        learn.policy(trainer.method.surrogate, rollouts, torch.zeros(4, 4))


def test_ratio_is_one_at_first_and_real_afterwards(make_trainer):
    trainer = make_trainer("grpo", train__updates_per_batch=1)
    rollouts, advantages = sample(trainer), torch.tensor([1.0, -1.0] * 8)
    metrics = update(trainer, rollouts, advantages)
    assert metrics["ratio_mean"] == metrics["ratio_max"] == 1.0 and metrics["clip_fraction"] == 0
    assert metrics["trained_tokens"] == len(rollouts.logp) and metrics["logp_gap_max"] < 1e-3
    fast = {"train__optimizer__learning_rate": 0.01, "train__optimizer__warmup_steps": 0}
    metrics = update(make_trainer("grpo", train__updates_per_batch=3, **fast), rollouts, advantages)
    assert metrics["ratio_max"] > 1.2 and metrics["clip_fraction"] > 0


@pytest.mark.parametrize(
    ("run", "factor"), [("grpo", 1.0), ("grpo+importance_cap=3", 2), ("grpo+importance_cap=1.5", 1.5)]
)
def test_a_sampler_that_is_off_by_a_factor_is_corrected_up_to_the_cap(make_trainer, run, factor):
    """Log-probs of the sampler lowered by ln 2: every token was half as likely to be drawn as the trainer believes."""
    trainer = make_trainer(run)
    rollouts, advantages = sample(trainer), torch.tensor([1.0, -1.0] * 8)
    lowered = Rollouts(rollouts.sequences, rollouts.logp - math.log(2), rollouts.entropy)
    plain = gradients(make_trainer("grpo"), rollouts, advantages)
    assert_same_gradients(
        gradients(trainer, lowered, advantages), {name: factor * gradient for name, gradient in plain.items()}
    )


def test_gradient_norms_of_the_terms(make_trainer):
    trainer = make_trainer()
    rollouts, demonstrations = sample(trainer), correct_demonstrations(trainer)
    metrics = update(trainer, rollouts, CLIFF, demonstrations)
    assert metrics["grad_norm_policy"] == 0
    assert metrics["grad_norm_distill"] == pytest.approx(metrics["grad_norm"], rel=1e-5) and metrics["grad_norm"] > 0
    metrics = update(make_trainer(), rollouts, some_advantages())
    assert metrics["grad_norm_distill"] == 0
    assert metrics["grad_norm_policy"] == pytest.approx(metrics["grad_norm"], rel=1e-5) and metrics["grad_norm"] > 0


@pytest.mark.parametrize("empty", [False, True])
def test_a_step_without_any_signal_is_weight_decay_alone(make_trainer, empty):
    """AdamW on a zero gradient multiplies every weight by 1 − learning rate × decay = 1 − 0.1 × 0.5."""
    optimizer = {"learning_rate": 0.1, "weight_decay": 0.5, "warmup_steps": 0}
    trainer = make_trainer(**{f"train__optimizer__{key}": value for key, value in optimizer.items()})
    rollouts = trainer.sampler.sample([], 4, 1.0, generator(0, "test")) if empty else sample(trainer)
    assert (len(rollouts.sequences) == len(rollouts.logp) == len(rollouts.entropy) == 0) is empty
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    metrics = update(trainer, rollouts, torch.zeros(0, 4) if empty else CLIFF, NO_DEMONSTRATIONS)
    assert metrics["loss"] == metrics["grad_norm"] == metrics["trained_tokens"] == 0 and metrics["ratio_mean"] is None
    for old, new in zip(before, trainer.policy.parameters(), strict=True):
        assert torch.allclose(new, 0.95 * old, rtol=1e-6, atol=0)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(make_trainer):
    trainer = make_trainer("grpo")
    rollouts = sample(trainer)
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    with pytest.raises(UserError, match=r"loss nan .* is not finite"):
        update(trainer, rollouts, torch.full((16,), torch.nan))
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.policy.parameters(), strict=True))


def test_responses_without_tokens_or_with_one(make_trainer):
    trainer = make_trainer()
    end = trainer.tokenizer.eos_token_id

    def rollouts(completions: list[list[int]]) -> Rollouts:
        problems = trainer.problems[: len(completions)]
        prompts = encode(trainer.tokenizer, [trainer.task.student_prompt(problem) for problem in problems])
        tokens = [torch.tensor(ids, dtype=torch.long) for ids in completions]
        count = sum(map(len, completions))
        return Rollouts(Sequences(prompts, tokens), torch.zeros(count), torch.zeros(count))

    mixed = update(trainer, rollouts([[], [end], [14, end]]), torch.tensor([1.0, -1.0, 0.5]))
    assert mixed["trained_tokens"] == 3 and math.isfinite(mixed["loss"]) and mixed["grad_norm"] > 0
    # π = π_old on the first update, so each token's loss is −A: (1 − 0.5 − 0.5) / 3 tokens.
    assert mixed["policy_loss"] == pytest.approx(0.0, abs=1e-6)
    none = update(trainer, rollouts([[], []]), torch.tensor([1.0, -1.0]))
    assert none["trained_tokens"] == none["loss"] == 0
    judged = trainer.scorer.judge(list(trainer.problems[:2]), [torch.tensor([end]), torch.tensor([], dtype=torch.long)])
    assert judged.rewards.tolist() == [[0.0], [0.0]]
