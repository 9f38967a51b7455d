"""Floating-point operations of a GRPO step from its exact lengths; a multiplication and an addition count as two."""

from collections.abc import Sequence

from hdpo.model.language_model import LanguageModel
from hdpo.plan.shape import Shape, from_config

SAMPLING_OPERATIONS = 8  # per token and vocabulary entry: temperature, softmax, entropy, the sum that draws the token
ADAMW_OPERATIONS = 16  # per parameter: decay, two moments, bias corrections, root, division, gradient norm and clip


def shape_of(model: LanguageModel) -> Shape:
    return from_config(model.config)


def forward_flops(shape: Shape, tokens: int, pairs: int, predictions: int) -> float:
    """One forward pass over `tokens` tokens, `pairs` (query, key) pairs and `predictions` rows of logits.

    Matrix products only, without norms, rotary embedding and activations.
    """
    return tokens * shape.trunk_flops(0) + attention_flops(shape, pairs) + predictions * shape.head_flops


def attention_flops(shape: Shape, pairs: int) -> float:
    """Scores and weighted values of `pairs` (query, key) pairs in every layer."""
    return pairs * (shape.trunk_flops(1) - shape.trunk_flops(0))


def step_flops(
    shape: Shape, prompts: Sequence[int], completions: Sequence[int], trained: Sequence[bool]
) -> dict[str, float]:
    """FLOPs of a GRPO step by phase, from the lengths of P prompts and P·G completions, in prompt-major order.

    The rollouts read each prompt once, and each completion token but the last. The update reads the sequences that
    are `trained` in the same way, each prompt once; its backward pass costs two forward passes. This is the work that
    the algorithm asks for. Padding, prompts read again and rows that run on after their end are losses.
    `rollout attention` and `update attention` are parts of the other phases.
    """
    group = len(completions) // len(prompts)
    rows = [(i // group, length) for i, length in enumerate(completions)]
    chosen = [row for row, is_trained in zip(rows, trained, strict=True) if is_trained]
    read = [prompts[i] for i in sorted({i for i, _ in chosen})]

    def responses(part: list[tuple[int, int]]) -> tuple[int, int]:
        """Tokens that the network reads, and their (query, key) pairs with the prompt and the tokens before."""
        pairs = sum(sum(range(prompts[i] + 1, prompts[i] + length)) for i, length in part)
        return sum(length - 1 for _, length in part), pairs

    fed, seen = responses(rows)
    fed_again, seen_again = responses(chosen)
    predictions = sum(length for _, length in chosen)
    pairs = causal_pairs(read) + seen_again
    update = forward_flops(shape, sum(read) + fed_again, pairs, predictions)
    return {
        "prefill": forward_flops(shape, sum(prompts), causal_pairs(prompts), len(prompts)),
        "decode": forward_flops(shape, fed, seen, fed),
        "sampling": SAMPLING_OPERATIONS * shape.vocabulary * sum(completions),
        "forward": update,
        "backward": 2 * update,
        "optimiser": ADAMW_OPERATIONS * shape.parameters,
        "rollout attention": attention_flops(shape, causal_pairs(prompts) + seen),
        "update attention": 3 * attention_flops(shape, pairs),
    }


def causal_pairs(lengths: Sequence[int]) -> int:
    """(query, key) pairs of causal attention over sequences of these lengths."""
    return sum(length * (length + 1) // 2 for length in lengths)
