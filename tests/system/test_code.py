"""The hash of code: what people read does not count, what Python runs does, and only what a run uses."""

import ast
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from hdpo.system import code
from helpers.studies import ROOT

SOURCE = '''"""A module."""

from toy.other import helper


def double(value: int) -> int:
    """Twice the value."""
    return value + value  # by adding
'''


@pytest.fixture
def hash_of(tmp_path, monkeypatch):
    """Writes modules of a package `toy`, given by their names, and returns the hash of `toy.main`."""
    monkeypatch.syspath_prepend(tmp_path)

    def measure(main: str, **others: str) -> str:
        for name, source in ({"__init__": "", "other": "helper = 1\n", "main": main} | others).items():
            (tmp_path / "toy").mkdir(exist_ok=True)
            (tmp_path / f"toy/{name}.py").write_text(source)
        forget()
        return code.code_hash("toy.main", within=("toy",))

    yield measure
    forget()


def forget() -> None:
    for cached in (code.code_hash, code._file, code._read):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # by adding", "  # with an operator"),
        ("  # by adding", ""),
        ('    """Twice the value."""\n', ""),
        ('"""A module."""', '"""Another description,\nof two lines."""'),
        ("\n\n\ndef", "\n\n\n\n\n# a remark\n\ndef"),
        ("value + value", "(value\n            + value)"),
        ("value: int)", "value: int,\n)"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(hash_of, old, new):
    assert old in SOURCE
    assert hash_of(SOURCE.replace(old, new)) == hash_of(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value + value", "value - value"),
        ("value + value", "value + other"),
        ("value: int", "value: float"),
        ("return ", ""),
        ("def double", "def twice"),
        ('    """Twice the value."""\n', '    print("Twice the value.")\n'),
        ("import helper", "import helper as h"),
    ],
)
def test_everything_that_python_runs_counts(hash_of, old, new):
    assert old in SOURCE
    assert hash_of(SOURCE.replace(old, new)) != hash_of(SOURCE)


def test_the_order_of_statements_counts(hash_of):
    assert hash_of("a = 1\nb = 2\n") != hash_of("b = 2\na = 1\n")
    assert hash_of("if a:\n    b()\nc()\n") != hash_of("if a:\n    b()\n    c()\n")


def test_imported_modules_count_and_others_do_not(hash_of):
    plain = hash_of(SOURCE)
    assert hash_of(SOURCE, other="helper = 2\n") != plain
    assert hash_of(SOURCE, unused="x = 1\n") == plain
    assert hash_of(SOURCE, other="import toy.main\nhelper = 1\n") != plain  # a circle ends
    assert hash_of(SOURCE.replace("toy.other", "json")) == hash_of(
        SOURCE.replace("toy.other", "json"), other="helper = 3\n"
    )


def test_a_module_that_is_not_there_is_an_error():
    with pytest.raises(ModuleNotFoundError, match=r"hdpo\.nowhere"):
        code.code_hash("hdpo.nowhere")


def test_another_version_of_python_gives_the_same_hash(hash_of, monkeypatch):
    """A syntax tree is written down without positions. Fields that a later version adds are empty for old code."""
    assert list(code._canonical(ast.parse("\n\nx = f(1)"))) == [
        *("Module", "body", "Assign", "targets", "Name", "id 'x'", "."),
        *("value", "Call", "func", "Name", "id 'f'", ".", "args", "Constant", "value 1", ".", ".", ".", "."),
    ]
    now, fields = hash_of(SOURCE), ast.iter_fields
    monkeypatch.setattr(ast, "iter_fields", lambda node: [*fields(node), ("type_params", []), ("flavour", None)])
    assert hash_of(SOURCE) == now


@pytest.fixture
def codes(tmp_path, make_study, monkeypatch):
    """Edits a copy of the package and returns the code hashes of two runs, by method."""
    shutil.copytree(ROOT / "hdpo", tmp_path / "hdpo", ignore=shutil.ignore_patterns("__pycache__"))
    copy = SimpleNamespace(origin=str(tmp_path / "hdpo/__init__.py"), submodule_search_locations=[""])
    monkeypatch.setattr(code, "find_spec", lambda name: copy)
    study = make_study()

    def edit(file: str = "", old: str = "", new: str = "") -> dict[str, str]:
        if file:
            path = Path(tmp_path, "hdpo", file)
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            assert old in text
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        forget()
        return {run.method.name: run.code for run in (study.run("grpo", 1), study.run("hdpo-frozen-0.1", 1))}

    yield edit
    forget()


def test_a_runs_code_is_its_own_methods_and_what_that_uses(codes):
    first = codes()
    assert len(set(first.values())) == 2
    assert codes("methods/another.py", "", "class Another: ...\n") == first
    assert codes("learning/learner.py", "import torch", "# reworded\nimport torch") == first
    assert codes("report/tables.py", "", "changed = 1\n") == first
    hdpo = codes("methods/hdpo.py", "[: self.max_cliffs]", "[self.max_cliffs :]")
    assert hdpo["grpo"] == first["grpo"] and hdpo["hdpo"] != first["hdpo"]
    grpo = codes("methods/grpo.py", "self.importance_cap is not None", "self.importance_cap is None")
    assert grpo["grpo"] != hdpo["grpo"] and grpo["hdpo"] != hdpo["hdpo"]  # HDPO is built on GRPO
    for file in (
        "learning/learner.py",
        "model/loading.py",
        "tasks/countdown.py",
        "sampling/sampler.py",
        "system/rng.py",
    ):
        assert (ROOT / "hdpo" / file).is_file()
        before, after = codes(), codes(file, "", "changed = 1\n")
        assert all(after[name] != before[name] for name in after), file


def test_a_package_from_outside_counts_with_all_its_modules(tmp_path, monkeypatch):
    """The method imports its loss from a module beside it, by a relative import."""
    (tmp_path / "aside").mkdir()
    for name, text in (("__init__", ""), ("method", "from .loss import f"), ("loss", "f = 1")):
        (tmp_path / "aside" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    first = code.code_hash("aside.method", within=("aside",))
    (tmp_path / "aside/loss.py").write_text("f = 2")
    forget()
    assert code.code_hash("aside.method", within=("aside",)) != first
    forget()


def test_the_code_of_a_base_model_counts_for_runs_that_train_one(codes, make_study):
    """The study of `codes` trains its base; weight decay of its base is decided in hdpo/run/base_model.py."""
    assert make_study().model.path is None
    first = codes()
    changed = codes("run/base_model.py", "weight_decay=0.01", "weight_decay=0.02")
    assert all(changed[name] != first[name] for name in first)


def test_a_new_key_of_the_study_file_leaves_the_code_as_it_is(codes):
    assert codes() == codes(
        "study/schema.py", "class Hardware(Section):", "class Hardware(Section):\n    colour: int = 1\n"
    )
