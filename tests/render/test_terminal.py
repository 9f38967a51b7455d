"""Model output on a terminal: every character shows, and none of them commands."""

import io
import re

import pytest

from hdpo.render.terminal import SHADES, shaded, takes_colour, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\rb\x08c\x00", "a\\x0db\\x08c\\x00"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}abc", "\\u202eabc"),
        ("\x9b31m", "\\x9b31m"),
        ("\U000e0041", "\\U000e0041"),
        ("a\tb\N{NO-BREAK SPACE}c", "a b c"),
        ("π 🎉\nzwei", "π 🎉\nzwei"),
        ("", ""),
    ],
)
def test_hidden_characters_show(text, shown):
    assert visible(text) == shown


def test_nothing_that_unicode_holds_stays_hidden():
    everything = visible("".join(map(chr, range(0x110000))))
    assert all(character == "\n" or character.isprintable() for character in everything)


def test_shades_end_with_their_text():
    assert shaded("plain", 0) == "plain"
    for level in range(1, len(SHADES) + 1):
        text = shaded("one\n\ntwo", level)
        assert re.sub(r"\x1b\[[0-9;]*m", "", text) == "one\n\ntwo"
        assert all(line.endswith("\x1b[0m") or not line for line in text.split("\n"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert takes_colour(Terminal()) and not takes_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "")
    assert takes_colour(Terminal())  # no-color.org: set and not empty
    monkeypatch.setenv("NO_COLOR", "1")
    assert not takes_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not takes_colour(Terminal())
