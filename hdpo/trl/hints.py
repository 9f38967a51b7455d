"""The privileged prompt x ⊕ y* of an example, and checks of a data set before any model is loaded."""

from collections.abc import Callable
from typing import Any

from hdpo.system.errors import UserError
from hdpo.trl.config import HDPOConfig

Prompt = str | list[dict[str, Any]]  # plain text, or messages
MakePrompt = Callable[[dict[str, Any]], Prompt]


def from_hint(args: HDPOConfig) -> MakePrompt:
    """The function that puts an example's hint into the template; of a conversation, into its last message.

    It raises `UserError` where the hint is missing or empty, or the last message is no text of the user.
    """

    def prompt(example: dict[str, Any]) -> Prompt:
        hint, plain = require_hint(example.get(args.hint_column), args.hint_column), example["prompt"]
        if isinstance(plain, str):
            return args.hint_template.format(prompt=plain, hint=hint)
        last = plain[-1]
        if last["role"] != "user" or not isinstance(last["content"], str):
            raise UserError("prompt: its last message is no text of a user, so no hint fits in; give privileged_prompt")
        return [*plain[:-1], last | {"content": args.hint_template.format(prompt=last["content"], hint=hint)}]

    return prompt


def require_hint(hint: Any, where: str) -> str:
    """The hint as a text.

    Raises:
        UserError: it is missing or empty.
    """
    if hint is None or not str(hint).strip():
        raise UserError(f"{where}: empty hint; leave out examples without one, or give privileged_prompt")
    return str(hint)


def check_hints(dataset: Any, column: str) -> None:
    """Look at every hint of a data set in memory, and at the columns of a stream.

    Raises:
        UserError: there is no such column, or a row of it is empty.
    """
    names = getattr(dataset, "column_names", None)
    if names is None:  # a stream that does not know its columns: the prompts are checked as they are made
        return
    if column not in names:
        raise UserError(
            f"the training data has no column {column!r} of hints (only {', '.join(names)}); see hint_column"
        )
    if hasattr(dataset, "__len__"):
        for row, hint in enumerate(dataset[column]):
            require_hint(hint, f"row {row} of column {column!r}")


def is_echo(completion: Prompt, hint: Any) -> bool:
    """Whether a completion only repeats the hint, which the reward cannot see."""
    text = completion if isinstance(completion, str) else completion[-1]["content"] or ""
    return text.split() == str(hint).split()
