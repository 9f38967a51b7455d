"""Published results hold the numbers of the runs' own folders, in three files."""

import shutil

import numpy as np
import pandas as pd
import pytest

from hdpo.claims.results import Results
from hdpo.claims.sources import FILES, Folder, Published, write_published
from hdpo.claims.summary import summarise
from hdpo.system.errors import UserError
from helpers.synthetic import write_everything


@pytest.fixture
def published(study) -> Published:
    write_everything(study, effect=0.05, missing=(("grpo", 3),))
    write_published(study)
    return Published(study)


def test_every_number_is_there(study, published):
    own, out = Results(study), Results(study.model_copy(update={"published": True}))
    pd.testing.assert_frame_equal(summarise(out), summarise(own))
    assert out.final.keys() == own.final.keys() and out.extra == own.extra
    for key, outcomes in own.final.items():
        again = out.final[key]
        assert all(
            np.array_equal(getattr(again, name), getattr(outcomes, name)) for name in ("samples", "tries", "hits")
        )
        assert again.details.keys() == outcomes.details.keys()
    metrics = own.reader.metrics("grpo", 1)
    again = out.reader.metrics("grpo", 1)[metrics.columns]
    pd.testing.assert_frame_equal(again, metrics, rtol=1e-6, check_dtype=False)
    assert out.reader.record("grpo", 1) == own.reader.record("grpo", 1)
    assert published.trained() == Folder(study).trained() and ("grpo", 3) not in published.trained()


def test_every_sample_of_a_problem_is_there(study, published):
    """Bits hold up to 64 draws in order; n is 16 here, and problems with further tries keep them."""
    table = published.outcomes("test", "grpo", 1)[1]
    assert table.equals(Folder(study).outcomes("test", "grpo", 1)[1])


def test_it_is_a_tenth_of_the_size(study, published):
    own = sum(path.stat().st_size for path in study.root.rglob("*") if path.is_file())
    assert sum((published.root / name).stat().st_size for name in FILES) < own / 2


def test_runs_published_before_stay_without_their_folders(study, published):
    whole = {name: (published.root / name).read_bytes() for name in FILES}
    shutil.rmtree(study.root / "runs" / "grpo")
    shutil.rmtree(study.root / "eval" / "grpo")
    write_published(study)
    assert {name: (published.root / name).read_bytes() for name in FILES} == whole


def test_runs_of_another_configuration_do_not_stay(study, published):
    other = study.model_copy(update={"train": study.train.model_copy(update={"steps": study.train.steps + 1})})
    shutil.rmtree(study.root)
    with pytest.raises(UserError, match="no finished run to publish"):
        write_published(other)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(study, published, name):
    path = published.root / name
    path.write_bytes(path.read_bytes()[:-9] + b"something")
    with pytest.raises(UserError, match=rf"{name}: missing, truncated or altered since published"):
        Published(study)


def test_nothing_to_publish_is_said(study):
    with pytest.raises(UserError, match="no finished run to publish"):
        write_published(study)
