"""Proposition 1's quantities on a language model: privileged against plain forward passes on the same tokens."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hdpo.model.forward import completion_logits
from hdpo.model.language_model import LanguageModel
from hdpo.model.loading import load_policy, load_tokenizer
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import Tokenizer, encode
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.theory.bounds import proposition1

OTHER_SEED = "-other-seed"  # the folder beside the base model with the same model trained from another seed


def study_gaps(study: Study, base: Path) -> pd.DataFrame:
    """`token_gaps` of the base model in folder `base` on all development problems, along each reference solution.

    The cross-model quantities are there if a model trained from another seed lies beside it.
    """
    task, other = study.task.load(study), base.with_name(base.name + OTHER_SEED)
    problems, implementation = task.problems("development"), study.model.implementation
    return token_gaps(
        load_policy(base, implementation=implementation),
        load_tokenizer(base),
        [task.student_prompt(problem) for problem in problems],
        [task.privileged_prompt(problem) for problem in problems],
        [problem.hint + " <eos>" for problem in problems],
        load_policy(other, implementation=implementation) if other.is_dir() else None,
    )


@torch.no_grad()
def token_gaps(
    model: LanguageModel,
    tokenizer: Tokenizer,
    plain_prompts: list[str],
    privileged_prompts: list[str],
    completions: list[str],
    other_model: LanguageModel | None = None,
) -> pd.DataFrame:
    """`bounds.proposition1` at every token of N completions: one row per token.

    Columns: `sequence` (0 … N−1), `position` (0 … T−1) and Proposition 1's quantities in nats. Both contexts
    are followed by the same completion tokens, c_S = x, ȳ_<t and c_T = x ⊕ y*, ȳ_<t. `other_model` (φ), with the
    same tokenizer, adds the cross-model quantities.

    Raises UserError if the three lists differ in length or are empty, or if a completion has no token.
    """
    if not len(plain_prompts) == len(privileged_prompts) == len(completions) > 0:
        sizes = f"{len(plain_prompts)}, {len(privileged_prompts)} and {len(completions)}"
        raise UserError(f"plain prompts, privileged prompts and completions must be equally many, got {sizes}")
    encoded = encode(tokenizer, completions)
    if min(len(tokens) for tokens in encoded) == 0:
        raise UserError("every completion must have at least one token, found an empty one")
    plain, privileged = (Sequences(encode(tokenizer, p), encoded) for p in (plain_prompts, privileged_prompts))
    passes = [(model, privileged), (model, plain)] + ([(other_model, privileged)] if other_model else [])
    lengths = plain.lengths.numpy()
    return pd.DataFrame(
        {
            "sequence": np.repeat(np.arange(len(lengths)), lengths),
            "position": np.concatenate([np.arange(length) for length in lengths]),
            **proposition1(*(completion_logits(*each).double().cpu().numpy() for each in passes)),
        }
    )
