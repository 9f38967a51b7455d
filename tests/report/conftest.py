"""What tests of the report share."""

import pytest


@pytest.fixture
def results(made, monkeypatch):
    """The results of a module's made-up study, in its folder (`helpers.synthetic.make_results`)."""
    monkeypatch.chdir(made[0])
    return made[1]
