"""A hash of code that ignores words: comments, docstrings and layout do not change it, and any other edit does.

It starts from some modules and follows their imports, so that it covers what they use and nothing else. Results
carry it, and the workflow runs a stage again when it changes.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def code_hash(*modules: str, within: tuple[str, ...] = ("hdpo",)) -> str:
    """First 12 hex digits over the syntax trees of `modules` and of all that they import.

    Args:
        modules: dotted names of modules to start from.
        within: packages or modules; an import outside of them is not followed.

    Raises:
        ModuleNotFoundError: one of `modules` is not there.
    """
    found, waiting = {}, list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name], imported = _read(name)
        waiting += [other for other in imported if other not in found and _is_within(other, within) and _file(other)]
    return hashlib.sha256("\n".join(f"{name} {found[name]}" for name in sorted(found)).encode()).hexdigest()[:12]


def _is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@cache
def _file(name: str) -> Path | None:
    """The source file of a module, found without importing it; None if there is no such module."""
    top, *rest = name.split(".")
    spec = find_spec(top)
    if spec is None or not spec.origin:
        return None
    path = Path(spec.origin).parent.joinpath(*rest) if spec.submodule_search_locations else Path(spec.origin)
    candidates = (path, path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's syntax tree, and the dotted names that it imports."""
    file = _file(name)
    if file is None:
        raise ModuleNotFoundError(f"no source of module {name}")
    tree = ast.parse(file.read_bytes())
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []  # of a relative import
            origin = ".".join([*above, *([node.module] if node.module else [])])
            imports += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
    return hashlib.sha256("\n".join(_canonical(tree)).encode()).hexdigest(), tuple(dict.fromkeys(imports))


def _canonical(node: ast.AST) -> Iterator[str]:
    """A syntax tree as lines that are the same in every version of Python: no positions, no empty fields."""
    yield type(node).__name__
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        if field == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            children = [child for child in children if not _is_text(child)]
        for child in children:
            if isinstance(child, ast.AST):
                if not isinstance(child, ast.expr_context):
                    yield field
                    yield from _canonical(child)
            elif child is not None and field not in ("type_comment", "kind"):
                yield f"{field} {child!r}"
    yield "."


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
