"""Float32 weights behind a bfloat16 model: small steps arrive, and sums are exact."""

import torch

from hdpo.learning.masters import master_weights, round_into
from hdpo.learning.optimizer import AdamW
from helpers.steps import update


def adamw(weights):
    return AdamW(weights, lr=1e-4, weight_decay=0.0, fused=True)


def test_small_steps_arrive_that_bfloat16_alone_rounds_away():
    """A constant gradient moves AdamW by the learning rate each step: 1 → 0.99 in 100 steps of 1e-4.

    Below 1, bfloat16's numbers are 2⁻⁸ = 0.0039 apart, so alone it rounds each single step back to 1.
    """
    alone = torch.nn.Linear(3, 2, bias=False, dtype=torch.bfloat16)
    torch.nn.init.ones_(alone.weight)
    held = torch.nn.Linear(3, 2, bias=False, dtype=torch.bfloat16)
    torch.nn.init.ones_(held.weight)
    weights = master_weights(held)
    optimizers = adamw(alone.parameters()), adamw(weights.values())
    for _ in range(100):
        for model, optimizer in zip((alone, held), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            model(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
            optimizer.step()
        round_into(held, weights)
    assert (alone.weight == 1).all()
    assert torch.allclose(weights["weight"], torch.full((2, 3), 0.99), atol=1e-6)
    assert held.weight.dtype == torch.bfloat16 and (held.weight == round(0.99 * 256) / 256).all()


def test_gradients_are_summed_in_float32():
    """1 + 512 · 2⁻⁹ = 2; in bfloat16, 1 + 2⁻⁹ is 1 and stays 1."""
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    (weight,) = master_weights(model).values()
    for part in [1.0] + [2.0**-9] * 512:
        model(torch.tensor([[part]], dtype=torch.bfloat16)).sum().backward()
    assert weight.grad.dtype == torch.float32 and weight.grad.item() == 2.0


def test_tied_weights_have_one_master_and_float32_weights_are_their_own():
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(5, 4), "head": torch.nn.Linear(4, 5, bias=False)})
    model.head.weight = model.embed.weight
    weights = master_weights(model)
    assert list(weights) == ["embed.weight"] and weights["embed.weight"] is model.embed.weight
    assert (model.embed.weight.grad == 0).all()
    model.zero_grad()
    rounded = master_weights(model.bfloat16())
    assert list(rounded) == ["embed.weight"] and rounded["embed.weight"].grad is model.head.weight.grad


def test_an_update_at_the_papers_learning_rate_reaches_every_weight(make_trainer):
    """At 1e-6 the model that acts may not change at all in one step, but what the next step builds on does."""
    optimizer = {"train__optimizer__learning_rate": 1e-6, "train__optimizer__warmup_steps": 0}
    trainer = make_trainer("grpo", model__dtype="bfloat16", model__implementation="transformers", **optimizer)
    weights = trainer.learner.weights
    before = {name: weight.clone() for name, weight in weights.items()}
    acting = [parameter.clone() for parameter in trainer.policy.parameters()]
    prompts = [torch.tensor([4, 5, 6])] * 4
    rollouts = trainer.sampler.sample(prompts, 4, 1.0, torch.Generator().manual_seed(0))
    update(trainer, rollouts, torch.tensor([1.0, -1.0] * 8))
    moved = torch.cat([((weight != before[name]) & (weight.grad != 0)).flatten() for name, weight in weights.items()])
    graded = torch.cat([(weight.grad != 0).flatten() for weight in weights.values()])
    rounded = torch.cat([(a != b).flatten() for a, b in zip(acting, trainer.policy.parameters(), strict=True)])
    assert moved.sum() > 0.99 * graded.sum() > 1000
    assert rounded.sum() < 0.05 * graded.sum()
