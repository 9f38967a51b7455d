"""The methods of TRL's `GRPOTrainer` that HDPO overrides or calls, and their parameters."""

import inspect

from trl import GRPOTrainer, __version__

from hdpo.system.errors import UserError

TESTED = "1.16.0"
HOOKS = {
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_compute_loss": ["self", "model", "inputs"],
    "_generate": ["self", "prompts"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_log_completion_extra": ["self", "column", "values"],
    "_tokenize_prompts": ["self", "prompts"],
}


def check_hooks() -> None:
    """
    Raises:
        UserError: this TRL has no such method, or one with other parameters.
    """
    for name, expected in HOOKS.items():
        method = inspect.unwrap(getattr(GRPOTrainer, name, check_hooks))
        found = list(inspect.signature(method).parameters)
        if found != expected:
            raise UserError(
                f"TRL {__version__}: GRPOTrainer.{name} takes ({', '.join(found)}), not ({', '.join(expected)}) as in "
                f"TRL {TESTED}, with which HDPO is tested; install trl=={TESTED}"
            )
