"""The steps that the benchmark times: forced cliffs, a study that stands still, phases, two versions in turns."""

from collections import Counter
from dataclasses import dataclass

import pytest
import torch

from benchmarks import versions
from benchmarks.part import still_study
from benchmarks.phases import Phases
from benchmarks.side import ForcedCliffs
from hdpo.learning.trainer import Trainer
from hdpo.system.errors import UserError
from hdpo.tasks.scoring import Judged
from helpers.studies import ROOT


@dataclass
class Given:
    """A scorer that returns the rewards it was given."""

    rewards: torch.Tensor

    def judge(self, problems, completions):
        return Judged(self.rewards.clone(), [], Counter())


def test_forced_cliffs_are_exactly_the_first_prompts_and_spare_privileged_rollouts():
    rollouts = torch.tensor([[1.0, 0, 1], [0, 1, 1], [0, 0, 0]])
    forced = ForcedCliffs(Given(rollouts), group=3, cliffs=1).judge([], []).rewards
    assert forced.tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]  # the natural cliff beyond the first gets one success
    privileged = torch.tensor([[0.0, 1], [0, 0]])
    spared = ForcedCliffs(Given(privileged), group=3, cliffs=2).judge([], []).rewards
    assert spared.tolist() == privileged.tolist()


def test_a_still_study_repeats_its_step_on_forced_cliffs(make_study, trained_base):
    study = still_study(make_study(model__path=str(trained_base), train__rollouts_per_prompt=6))
    trainer = Trainer(study.run("hdpo-drifting-0.1", 1))
    trainer.scorer = ForcedCliffs(trainer.scorer, group=6, cliffs=3)
    before = [parameter.clone() for parameter in trainer.policy.parameters()]
    first, second = trainer.step(2), trainer.step(2)
    assert first["cliffs"] == 3 and first["grad_norm"] > 0
    assert first["tokens"] == second["tokens"] and first["loss"] == second["loss"]
    for old, new in zip(before, trainer.policy.parameters(), strict=True):
        torch.testing.assert_close(old, new, rtol=0, atol=1e-10)


def test_phases_repeat_what_a_step_does(make_study, trained_base):
    """Parts called by themselves, in any order, draw and learn what the whole step does."""
    trainer = Trainer(still_study(make_study(model__path=str(trained_base))).run("grpo", 1))
    phases = Phases(trainer)
    phases.step()
    tokens = phases.records[0]["tokens"]
    assert tokens["rollout"] == int(phases.rollouts.sequences.lengths.sum()) and tokens["trained"] > 0
    assert torch.equal(phases.sample().logp, phases.rollouts.logp)
    phases.update()
    assert trainer.log.updated["trained_tokens"] == tokens["trained"]
    assert trainer.log.updated["policy_loss"] == pytest.approx(phases.records[0]["policy_loss"])
    phases.idle_update()
    assert trainer.log.updated["trained_tokens"] == 0 and trainer.log.updated["grad_norm"] == 0


@pytest.mark.slow
def test_two_versions_take_the_same_steps_in_turns(trained_base):
    """Here the other version is this one, so both draw the same tokens."""
    records = versions.take_steps({"new": ROOT, "old": ROOT}, str(trained_base), cliffs=2, steps=1)
    assert records["new"].keys() == records["old"].keys() == versions.CASES.keys()
    for case, taken in records["new"].items():
        assert [record["tokens"] for record in taken] == [record["tokens"] for record in records["old"][case]]
    assert records["new"]["HDPO on cliffs"][0]["tokens"]["privileged"] > 0


def test_another_versions_failure_is_one_line(tmp_path):
    with pytest.raises(UserError, match="not from") as raised:  # no package there, so this one is imported
        versions.take_steps({"old": tmp_path}, "base", cliffs=2, steps=1)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="no checkout of the kit"):
        versions.measure(True, str(tmp_path))


def test_versions_are_compared_round_by_round():
    steps = {"GRPO": (2.0, 4.0), "GRPO on cliffs": (2.0, 3.0), "HDPO on cliffs": (3.0, 6.0)}
    phases = {
        case: [{"seconds": {"total": s, "rollout": s / 4, "update": s / 2}} for s in steps[case]] for case in steps
    }
    assert versions.step_seconds(phases) == {
        "GRPO step": 3.0,
        "its rollouts": 0.75,
        "its update": 1.5,
        "HDPO step on cliffs": 4.5,
        "what HDPO adds to GRPO there": 2.0,  # of 1 and 3
    }
    rounds = [{"new": 1.0, "old": 2.0}, {"new": 3.0, "old": 3.0}, {"new": 2.0, "old": 1.0}]
    assert versions.compare("step", rounds) == {
        "what": "step",
        "new_s": 2.0,
        "old_s": 2.0,
        "ratio": 1.0,
        "low": 0.5,
        "high": 2.0,
    }
