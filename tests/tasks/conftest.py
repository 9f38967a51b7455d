"""A working directory for written problems."""

import pytest

from helpers.written import save_byte_tokenizer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a byte tokenizer as the base model."""
    monkeypatch.chdir(tmp_path)
    save_byte_tokenizer(tmp_path / "base")
    return tmp_path
