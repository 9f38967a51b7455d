"""Code in the documentation: Python runs, and every command of a shell exists with the options that it is given."""

import re
import shlex
import tomllib
from collections.abc import Iterator

import pytest

from hdpo.cli.parser import build_parser
from helpers.studies import ROOT

PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
FENCE = re.compile(r"^(?:<!-- not run: (.+) -->\n)?```(\w*).*\n((?:.*\n)*?)```$", re.MULTILINE)
OURS = ("benchmarks/", "config/", "docs/", "examples/", "notebooks/", "paper/", "profiles/", "results/reference/")
TARGETS = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
COMMANDS = next(action.choices for action in build_parser()._actions if action.choices)


def blocks(*languages: str) -> list:
    """Fenced code as (why it is not run, code), named by page and line."""
    found_blocks = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[2] in languages:
                line = text.count("\n", 0, found.start(3)) + 1
                found_blocks.append(pytest.param(found[1], found[3], id=f"{page.relative_to(ROOT)}:{line}"))
    return found_blocks


@pytest.mark.parametrize(("why_not", "code"), blocks("python"))
def test_python_runs(why_not, code, request, monkeypatch):
    program = compile(code, request.node.callspec.id, "exec")
    if why_not:
        pytest.skip(why_not)
    monkeypatch.chdir(ROOT)
    exec(program, {"__name__": "documentation"})


@pytest.mark.parametrize(("_", "code"), blocks("sh", "bash"))
def test_commands_exist(_, code):
    for line in code.replace("\\\n", " ").splitlines():
        for command in commands(line):
            check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`((?:hdpo|make) [^`]+)`", text):
        program, name, *rest = code.split()
        if program == "make":
            assert name in TARGETS, f"`{code}`: the Makefile has no target {name}"
        elif not name.isupper():  # COMMAND
            assert name in COMMANDS, f"`{code}`: hdpo has no command {name}"
            known = COMMANDS[name]._option_string_actions
            assert {part for part in rest if part.startswith("--")} <= set(known), f"`{code}`: no such option"


def commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, command = True, []
    for token in [*lexer, ";"]:
        if token in ("&&", "||", ";", "|"):
            yield from [command] if command else []
            command = []
        elif token != "do":
            command.append(token)


def check(command: list[str]) -> None:
    program, *rest = command
    if program == "hdpo" and "--help" not in rest:
        try:
            build_parser().parse_args(rest)
        except SystemExit:
            pytest.fail(f"{shlex.join(command)}: hdpo refuses these arguments")
    if program == "make":
        unknown = {word for word in rest if "=" not in word} - TARGETS
        assert not unknown, f"{shlex.join(command)}: the Makefile has no target {unknown}"
    if program == "python" and rest[0] == "-m" and rest[1].startswith("benchmarks"):
        module = ROOT / rest[1].replace(".", "/")
        assert module.is_dir() or module.with_suffix(".py").exists(), f"{shlex.join(command)}: no such module"
    for word in rest:
        path = word.rpartition("=")[2]
        assert not path.startswith(OURS) or (ROOT / path).exists(), f"{shlex.join(command)}: {path} does not exist"
        for extra in re.findall(r"\w+", "".join(re.findall(r"^(?:hdpo|\.)\[(.+)\]$", word))):
            assert extra in EXTRAS, f"{shlex.join(command)}: pyproject.toml has no extra {extra}"
