"""Methods and tasks by name: the kit's own, and those of installed packages.

The kit's methods are the files of `hdpo/methods/`, its tasks are listed in `TASKS`. A package adds its own through
an entry point, group `hdpo.methods` or `hdpo.tasks`, that names a `Method` or a `TaskConfig` class. Code is never
taken from a study file.
"""

import math
import re
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isabstract
from itertools import product
from pkgutil import iter_modules
from types import NoneType
from typing import Any, get_args

from pydantic import ValidationError

from hdpo.study.method import VALUE, Method
from hdpo.study.schema import first_problem
from hdpo.study.task import TaskConfig
from hdpo.system.errors import UserError

TASKS = {
    "countdown": "hdpo.tasks.countdown:Countdown",
    "openmathinstruct2": "hdpo.tasks.config:OpenMathInstruct2",
    "gsm8k": "hdpo.tasks.config:Gsm8k",
    "problems": "hdpo.tasks.config:Problems",
}
MOST_ARMS = 10_000  # of one entry of a study file


@cache
def methods() -> dict[str, str]:
    """Every method's name and where its class is."""
    stems = sorted(name for _, name, _ in iter_modules(import_module("hdpo.methods").__path__))
    own = {stem.replace("_", "-"): f"hdpo.methods.{stem}" for stem in stems}
    return _with_installed("hdpo.methods", own)


@cache
def tasks() -> dict[str, str]:
    """Every task's name and where its class is."""
    return _with_installed("hdpo.tasks", TASKS)


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        UserError: there is no such method; names the nearest one. Or an installed package's cannot be loaded.
    """
    found: type[Method] = _load("method", name, methods(), Method)
    if isabstract(found):
        raise UserError(
            f"method {name}: its class {found.__name__} lacks {', '.join(sorted(found.__abstractmethods__))}"
        )
    own = getattr(found, "name", None)
    if own != name:
        raise UserError(f"method {name}: its class {found.__name__} calls itself {own!r}; set name = {name!r}")
    return found


def task_class(name: str) -> type[TaskConfig]:
    """The class of a task's section; raises as `method_class` does."""
    found: type[TaskConfig] = _load("task", name, tasks(), TaskConfig)
    return found


def expand(arm: Any) -> list[Method]:
    """The arms that one entry of a study's `methods` stands for: each list among its values is swept.

    Raises:
        ValueError: no mapping with a key `method`, an unknown parameter, or a value out of range.
        UserError: an unknown method.
    """
    if isinstance(arm, Method):
        return [arm]
    if isinstance(arm, str):
        arm = {"method": arm}
    if not isinstance(arm, dict) or not isinstance(arm.get("method"), str):
        raise ValueError("expected a method's name, or a mapping such as {method: hdpo, distill_weight: 0.1}")
    kind = method_class(arm["method"])
    parameters = {key: value for key, value in arm.items() if key != "method"}
    for key in parameters:
        if key not in kind.model_fields:
            raise ValueError(f"{kind.name} has no parameter {nearest(str(key), kind.model_fields)}")
    levels = [value if isinstance(value, tuple | list) else (value,) for value in parameters.values()]
    if not 0 < math.prod(map(len, levels)) <= MOST_ARMS:
        raise ValueError(
            f"{kind.name}: a sweep makes from 1 to {MOST_ARMS} runs, this one {math.prod(map(len, levels))}"
        )
    try:
        return [kind.model_validate(dict(zip(parameters, values, strict=True))) for values in product(*levels)]
    except ValidationError as error:
        raise ValueError(f"{kind.name}: {first_problem(error)}") from error


def parse_run(run: str) -> Method:
    """The arm that a run's name states: the inverse of `Method.run_name`.

    Raises:
        UserError: no method, too few or too many values, or a value out of range.
    """
    known = [name for name in methods() if re.match(re.escape(name) + r"(?![^-+])", run)]
    if not known:
        raise UserError(f"run {run!r}: no method {nearest(re.split('[-+]', run)[0], methods())}")
    kind = method_class(max(known, key=len))
    rest = run[len(kind.name) :]
    found = re.fullmatch(rf"((?:-{VALUE})*)((?:\+\w+={VALUE})*)", rest)
    values = re.findall(VALUE, found[1]) if found else []
    expected = "".join([kind.name, *(f"-<{key}>" for key in kind.named)])
    if not found or len(values) != len(kind.named):
        raise UserError(f"run {run!r}: expected {expected}, then +<parameter>=<value> for others")
    texts = dict(zip(kind.named, values, strict=True))
    texts |= dict(pair.split("=", 1) for pair in found[2].split("+")[1:])
    try:
        parameters = {key: _typed(kind, key, text) for key, text in texts.items()}
        [arm] = expand({"method": kind.name} | parameters)
        if arm.run_name != run:
            raise ValueError(f"write it {arm.run_name}")
        return arm
    except ValueError as error:
        raise UserError(f"run {run!r}: {error}") from error


def nearest(name: str, known: Any) -> str:
    """`'hdop'; did you mean hdpo? Known: grpo, hdpo`."""
    close = get_close_matches(name, list(known), 1)
    return f"{name!r}; " + (f"did you mean {close[0]}? " if close else "") + f"Known: {', '.join(known)}"


def _typed(kind: type[Method], key: str, text: str) -> Any:
    """A value from a run's name, as a float or a text where the parameter takes one."""
    if key not in kind.model_fields:
        raise ValueError(f"{kind.name} has no parameter {nearest(key, kind.model_fields)}")
    annotation = kind.model_fields[key].annotation
    kinds = {annotation, *get_args(annotation)} - {NoneType}
    if float in kinds or any(float in get_args(part) for part in kinds):
        return None if text == "null" else float(text)
    if str in kinds:
        return text
    return (
        int(text) if re.fullmatch(r"\d{1,20}", text) else {"null": None, "true": True, "false": False}.get(text, text)
    )


def _with_installed(group: str, own: dict[str, str]) -> dict[str, str]:
    """`own`, and the entry points of installed packages.

    Raises:
        UserError: a name is taken twice, or cannot be part of a run's name.
    """
    known = dict(own)
    for point in entry_points(group=group):
        if point.name == "base" or not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", point.name):
            raise UserError(f"entry point {point.name!r} of {group}: not a name such as my-method, or taken by the kit")
        if known.get(point.name, point.value) != point.value:
            raise UserError(f"entry point {point.name!r} of {group}: {known[point.name]} has this name already")
        known[point.name] = point.value
    return known


def _load(what: str, name: str, known: dict[str, str], base: type) -> Any:
    if name not in known:
        raise UserError(f"no {what} {nearest(name, known)}")
    module, _, attribute = known[name].partition(":")
    try:
        loaded = import_module(module)
        classes = [value for value in vars(loaded).values() if isinstance(value, type) and issubclass(value, base)]
        own = [value for value in classes if (value.__name__ == attribute if attribute else value.__module__ == module)]
    except Exception as error:  # a package that is installed, not ours: it may fail in any way
        raise UserError(f"{what} {name}: {known[name]} cannot be loaded ({type(error).__name__}: {error})") from error
    if len(own) != 1:
        raise UserError(f"{what} {name}: {known[name]} is not one {base.__name__} class")
    return own[0]
