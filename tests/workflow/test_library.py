"""`import hdpo` as a library, and the example that adds HDPO's term to a loop of one's own."""

import inspect
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from statistics import fmean

import pytest

import hdpo
from helpers.studies import ROOT


@pytest.mark.parametrize("name", hdpo.__all__)
def test_every_exported_name_resolves_and_says_what_it_is(name):
    exported = getattr(hdpo, name)
    assert exported.__module__.startswith("hdpo.") and exported.__name__ == name
    assert len(inspect.getdoc(exported)) > 40


def test_each_name_has_one_home_and_an_unknown_one_is_an_attribute_error():
    assert sorted(name for names in hdpo.HOMES.values() for name in names) == sorted(hdpo.__all__)
    assert set(hdpo.__all__) <= set(dir(hdpo))
    with pytest.raises(AttributeError, match="'hdpo' has no attribute 'ppo'"):
        hdpo.ppo  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, hdpo; print({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.fixture
def own_loop():
    spec = spec_from_file_location("own_loop", ROOT / "examples/own_loop.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_brings_the_student_nearer_to_the_teacher(own_loop, monkeypatch):
    """And without the term it does not: GRPO's advantages are 0 on cliffs, where the demonstrations come from."""
    with_term = own_loop.main()
    monkeypatch.setattr(own_loop, "DISTILL_WEIGHT", 0.0)
    without = own_loop.main()
    assert with_term[0] == without[0]
    assert fmean(with_term[-5:]) < 0.8 * fmean(with_term[:5])
    assert fmean(without[-5:]) > 0.9 * fmean(without[:5])
