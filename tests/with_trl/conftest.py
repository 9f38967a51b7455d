"""The tiny study in a folder, with the random base model, as `helpers.trl_runs` wants it."""

import pytest

from helpers.studies import write_study


@pytest.fixture(scope="session")
def folder(tmp_path_factory, base_folder):
    folder = tmp_path_factory.mktemp("trl")
    (folder / "base").symlink_to(base_folder)
    write_study(folder, model__path=str(base_folder), model__implementation="transformers")
    return folder
