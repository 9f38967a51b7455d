"""The exception for users' mistakes. The command line turns it into one line and exit code 2."""

from textwrap import shorten


class UserError(Exception):
    """Bad input from outside. The message says what is wrong, where, and what would be right.

    It is one printable line even if it quotes line breaks or terminal codes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join("".join(mark if mark.isprintable() else " " for mark in message).split()))


def brief(error: Exception) -> str:
    """The first 200 characters or fewer of a library's error message, cut between words, on one line."""
    return shorten(str(error), 200, placeholder=" …")
