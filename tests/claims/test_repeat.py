"""Published runs trained again: equal to the bit where nothing changed, and a difference is measured."""

import json

import pandas as pd
import pytest

from hdpo.claims.repeat import EQUAL, compare_steps, repeat_run, write_repeat
from hdpo.claims.sources import write_published
from hdpo.run.train import train_run
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from helpers.studies import write_study


def steps(reward: list[float]) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(EQUAL, 1.0), index=range(len(reward))).assign(reward=reward)


def test_the_first_unequal_step_and_the_distance_of_a_mean():
    assert compare_steps(steps([0.5, 0.5]), steps([0.5, 0.5])) == {"first_unequal_step": None, "distance": 0.0}
    found = compare_steps(steps([0.5, 0.6]), steps([0.5, 0.5]))
    assert found["first_unequal_step"] == 1 and found["distance"] == pytest.approx(0.1)


def test_a_run_without_demonstrations_equals_itself():
    """What is missing in both is equal: GRPO has no privileged rollouts."""
    assert (
        compare_steps(steps([0.5]).assign(entropy=float("nan")), steps([0.5]).assign(entropy=float("nan")))[
            "first_unequal_step"
        ]
        is None
    )


@pytest.mark.slow
def test_the_first_steps_of_a_published_run_are_made_again(tmp_path, monkeypatch, trained_base):
    monkeypatch.chdir(tmp_path)
    settings = {"train__steps": 4, "train__checkpoint_every": 4, "evaluate__every": 4, "seeds": [1]}
    path = write_study(tmp_path, model__path=str(trained_base), methods=["grpo"], **settings)
    study = load_study(path)
    train_run(study.run("grpo", 1))
    write_published(study)
    with pytest.raises(UserError, match="has no section repeat"):
        repeat_run(study, "grpo", 1)
    again = write_study(
        tmp_path,
        model__path=str(trained_base),
        methods=["grpo"],
        **settings,
        repeat={"runs": ["grpo"], "seeds": 1, "steps": 2},
    )
    found = json.loads(repeat_run(load_study(again), "grpo", 1).read_text())
    assert found["first_unequal_step"] is None and found["same_code"] and found["same_configuration"]
    assert "1 equal" in write_repeat(load_study(again)).read_text()
    with pytest.raises(UserError, match="run grpo seed 2 is not published"):
        repeat_run(load_study(again), "grpo", 2)
