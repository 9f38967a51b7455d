"""The one exception that a user's mistake raises; the command line turns it into one line and exit code 2."""

from textwrap import shorten


class UserError(Exception):
    """Bad input from outside: says what is wrong, where, and what would be right.

    What it quotes may hold line breaks and terminal codes; the message is one printable line all the same.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join("".join(mark if mark.isprintable() else " " for mark in message).split()))


def brief(error: Exception) -> str:
    """The first words of what a library's error says, up to 200 characters, on one line."""
    return shorten(str(error), 200, placeholder=" …")
