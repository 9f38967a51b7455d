"""Text from a model on a terminal: nothing in it can move the cursor, colour or hide what follows."""

import os
import unicodedata
from typing import TextIO

# Backgrounds for rising values, from the 256 colours that terminals share; black text stands out on each.
SHADES = (230, 228, 222, 215, 209)


def visible(text: str) -> str:
    """`text` in which every character shows: control, direction and other hidden ones become `\\x1b` and the like."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\n" or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs" or character == "\t":  # spaces of other widths
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def takes_colour(stream: TextIO) -> bool:
    """Whether to colour what is written to `stream`: a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shaded(text: str, level: int) -> str:
    """`text` on the background of a level from 1 to 5; on level 0 it stays as it is. Line breaks carry no shade."""
    if level == 0:
        return text
    background = f"\x1b[30;48;5;{SHADES[level - 1]}m"
    return "\n".join(f"{background}{line}\x1b[0m" if line else "" for line in text.split("\n"))


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"
