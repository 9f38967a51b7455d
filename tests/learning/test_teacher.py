"""The privileged teacher: what it is shown, which of its answers are kept, and whose weights it has."""

import json

import pytest
import torch

from hdpo.learning.teacher import NO_DEMONSTRATIONS
from hdpo.learning.trainer import Trainer
from hdpo.model.sequences import Sequences
from hdpo.model.tokenizer import encode
from hdpo.sampling.sampler import Rollouts
from hdpo.system.rng import generator
from hdpo.tasks import Verdict
from hdpo.tasks.countdown import CountdownTask
from helpers.steps import correct_demonstrations, sample, update


class Parrot:
    """A sampler that answers each privileged prompt with the hint in it."""

    def __init__(self, trainer: Trainer) -> None:
        shown = encode(trainer.tokenizer, [trainer.task.privileged_prompt(problem) for problem in trainer.problems])
        hints = encode(trainer.tokenizer, [problem.hint + " <eos>" for problem in trainer.problems])
        self.hints = {tuple(prompt.tolist()): hint for prompt, hint in zip(shown, hints, strict=True)}

    def sample(self, prompts, group, temperature, random) -> Rollouts:
        repeated = [prompt for prompt in prompts for _ in range(group)]
        said = [self.hints[tuple(prompt.tolist())] for prompt in repeated]
        return Rollouts(Sequences(repeated, said), torch.empty(0), torch.empty(0))


def test_correct_privileged_rollouts_are_kept_under_both_prompts(make_trainer, monkeypatch):
    trainer = make_trainer()
    problems = list(trainer.problems[:2])
    right = encode(trainer.tokenizer, [problem.hint + " <eos>" for problem in problems])
    wrong = encode(trainer.tokenizer, ["1 + 1 = 2 <eos>"])[0]
    drawn = [right[0], wrong, right[0], wrong, wrong, right[1]]
    prompts_seen = []

    def fake_sample(prompts, group, temperature, random):
        prompts_seen.extend(prompts)
        repeated = [prompt for prompt in prompts for _ in range(group)]
        return Rollouts(Sequences(repeated, drawn), torch.zeros(0), torch.zeros(0))

    monkeypatch.setattr(trainer.teacher.sampler, "sample", fake_sample)
    found = trainer.demonstrate(problems, 3)

    def texts(prompts: list[torch.Tensor]) -> list[str]:
        return trainer.tokenizer.batch_decode([prompt.tolist() for prompt in prompts])

    assert texts(prompts_seen) == [trainer.task.privileged_prompt(problem) for problem in problems]
    assert found.drawn == 6 and found.drawn_tokens == sum(map(len, drawn)) and len(found) == 3
    kept = [problems[0], problems[0], problems[1]]
    assert found.ids == tuple(problem.id for problem in kept) and found.correct == 3
    assert texts(found.student.prompts) == [trainer.task.student_prompt(problem) for problem in kept]
    assert texts(found.teacher.prompts) == [trainer.task.privileged_prompt(problem) for problem in kept]
    assert [text.removesuffix(" <eos>") for text in texts(found.student.completions)] == [p.hint for p in kept]
    assert found.student.completions is found.teacher.completions


def test_no_problems_are_no_demonstrations(make_trainer):
    assert make_trainer().demonstrate([], 4) is NO_DEMONSTRATIONS
    without_teacher = make_trainer("grpo")
    assert without_teacher.demonstrate(list(without_teacher.problems[:2]), 4) is NO_DEMONSTRATIONS


def test_a_drifting_teacher_is_the_policy_and_a_frozen_one_stays(make_trainer):
    drifting, frozen = make_trainer("hdpo-drifting-0.1"), make_trainer("hdpo-frozen-0.1")
    assert drifting.teacher.model is drifting.policy and drifting.teacher.sampler.model is drifting.policy
    assert frozen.teacher.model is not frozen.policy and frozen.teacher.sampler.model is frozen.teacher.model
    demonstrations, moved = correct_demonstrations(frozen), {}
    for trainer in (drifting, frozen):
        before = trainer.teacher.targets([demonstrations.teacher], top_k=8)
        update(trainer, sample(trainer), torch.tensor([1.0, -1.0] * 8), demonstrations)
        after = trainer.teacher.targets([demonstrations.teacher], top_k=8)
        moved[trainer.method.teacher] = not torch.equal(before[0][0], after[0][0])
    assert moved == {"drifting": True, "frozen": False}
    weights = zip(frozen.policy.parameters(), frozen.teacher.model.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in weights)


def test_an_offloaded_teacher_is_called_for_each_use_and_sent_back(make_trainer, monkeypatch):
    """For the privileged rollouts, and for their distributions; a drifting one is at hand anyway."""
    for run, expected in (("hdpo-frozen-0.1", ["device", "cpu"] * 2), ("hdpo-drifting-0.1", [])):
        trainer, moves = make_trainer(run, hardware__offload_teacher=True), []
        monkeypatch.setattr(trainer.teacher.model, "to", lambda device, moves=moves: moves.append(device))
        trainer.teacher.device = "device"
        trainer.teacher.demonstrate(list(trainer.problems[:2]), 4, generator(0, "test"))
        update(trainer, sample(trainer), torch.zeros(16), correct_demonstrations(trainer))
        update(trainer, sample(trainer), torch.zeros(16))
        assert moves == expected


def test_verdicts_and_echoes_are_logged_where_the_verifier_can_fail(make_trainer, monkeypatch):
    """The first four rollouts crash the verifier, time it out, or hold no answer; the teacher repeats its hint."""
    plain = make_trainer().step(0)
    assert not {"verdicts", "privileged_verdicts", "echo_share"} & set(plain)  # Countdown's knows right and wrong
    monkeypatch.setattr(CountdownTask, "verifier_can_fail", True)
    trainer = make_trainer()
    trainer.teacher.sampler = Parrot(trainer)
    odd, calls, judge = (
        [Verdict.CRASHED, Verdict.TIMED_OUT, Verdict.UNPARSABLE, Verdict.UNPARSABLE],
        [],
        trainer.task.judge,
    )

    def judge_badly(problems, texts):
        calls.append(len(texts))
        verdicts = judge(problems, texts)
        return verdicts if len(calls) > 1 else [*odd, *verdicts[4:]]

    monkeypatch.setattr(trainer.task, "judge", judge_badly)
    record = trainer.step(0)
    drawn = trainer.settings.prompts_per_step * trainer.settings.rollouts_per_prompt
    shown = record["cliffs"] * trainer.method.privileged_rollouts
    assert calls == [drawn, shown] and shown > 0  # all at once: the verifier's processes work side by side
    counts = record["verdicts"]
    assert (counts["crashed"], counts["timed_out"], counts["unparsable"]) == (1, 1, 2)
    assert counts["wrong"] + counts.get("correct", 0) == drawn - 4
    assert record["privileged_verdicts"] == {"correct": shown} and record["demonstrations"] == shown
    assert record["echo_share"] == 1.0
    json.dumps(record)


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_cliffs_without_a_correct_demonstration_and_no_cliffs_at_all(make_trainer, monkeypatch, reward):
    trainer = make_trainer()
    monkeypatch.setattr(type(trainer.task), "reward", lambda *_: reward)
    record = trainer.step(0)
    assert record["cliff_fraction"] == 1 - reward and record["solved_fraction"] == reward
    assert record["demonstrations"] == record["loss"] == record["grad_norm"] == 0
    assert record["privileged_pass_rate"] == (0 if reward == 0 else None)
    assert record["tokens"]["privileged"] > 0 if reward == 0 else record["tokens"]["privileged"] == 0
