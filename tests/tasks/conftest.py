"""A working directory for written problems."""

import pytest

from helpers.written import save_byte_tokenizer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with a byte tokenizer as the base model, and a data cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))  # for other processes
    save_byte_tokenizer(tmp_path / "base")
    return tmp_path
