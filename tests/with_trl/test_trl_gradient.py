"""The gradient of HDPO in TRL is the kit's. Skipped where TRL is not installed; `make test-trl` installs it."""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("trl.trainer", reason="TRL is not installed; make test-trl")

from hdpo.learning.teacher import Demonstrations
from hdpo.learning.trainer import Trainer
from hdpo.learning.update import Update
from hdpo.model.sequences import Sequences
from hdpo.sampling.sampler import Rollouts
from hdpo.study.study import load_study
from helpers.studies import ROOT
from helpers.trl_runs import CASES, CASES_OF_TWO

ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "ACCELERATE_USE_CPU": "true",
    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
}


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def recorded(request, folder):
    """What TRL drew and which gradients it took, case by case."""
    out = folder / f"{request.param}.pt"
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(request.param)]
    program = [str(ROOT / "tests/helpers/trl_runs.py"), str(folder), str(out)]
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, *program], env=ENVIRONMENT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = torch.load(out, weights_only=True)
    assert {case["processes"] for case in found.values()} == {request.param}
    return found


def test_every_accumulated_gradient_is_the_kits(recorded, folder):
    demonstrations, worst = 0, 0.0
    for name, case in recorded.items():
        updates = case["updates"]
        assert len(updates) == 2 * case["iterations"]
        for number, drawn in enumerate(case["generations"]):
            mine = updates[number * case["iterations"] : (number + 1) * case["iterations"]]
            demonstrations += len(drawn["demonstrations"])
            for found, expected in zip(mine, kits_gradients(folder, case["teacher"], drawn, mine), strict=True):
                worst = max(worst, difference(found["gradients"], expected))
                assert worst < 1e-5, name
    assert demonstrations >= 10
    print(f"largest relative difference {worst:.1e}")


def test_the_distillation_term_has_a_share_in_it(recorded, folder):
    for case in recorded.values():
        drawn, first = case["generations"][0], case["updates"][:1]
        [without] = kits_gradients(folder, case["teacher"], drawn | {"demonstrations": []}, first)
        assert difference(first[0]["gradients"], without) > 0.01


def test_the_cases_split_a_step_in_several_ways():
    assert {accumulation for _, accumulation, _, _ in CASES.values()} == {1, 4, 8}
    assert {iterations for cases in (CASES, CASES_OF_TWO) for _, _, iterations, _ in cases.values()} == {1, 2}


def test_logged_counts_are_those_of_what_was_drawn(recorded):
    for case in recorded.values():
        logs = [entry for entry in case["logs"] if "hdpo/kept" in entry]
        assert len(logs) == len(case["generations"])
        for entry, drawn in zip(logs, case["generations"], strict=True):
            cliffs = int((drawn["rewards"].sum(1) == 0).sum())
            kept = drawn["demonstrations"]
            assert entry["hdpo/cliffs"] == cliffs
            assert entry["hdpo/cliff_share"] == cliffs / len(drawn["rewards"])
            assert entry["hdpo/kept"] == len(kept)
            assert entry["hdpo/tokens"] == sum(len(completion) for _, _, completion in kept)
            if cliffs:
                assert entry["hdpo/privileged_pass_rate"] == len(kept) / (6 * cliffs)
            assert not kept or entry["hdpo/jsd"] > 0


def kits_gradients(folder, teacher, drawn, updates):
    """The kit's gradient of each update of a generation, on the weights before that update."""
    run = f"hdpo-{teacher}-1+baseline=mean+normalize_advantages=false+privileged_rollouts=6"
    trainer = Trainer(load_study(folder / "study.yaml").run(run, 1))
    prompts, completions = ([torch.tensor(ids) for ids in drawn[name]] for name in ("prompt", "completion"))
    sequences = Sequences(prompts, completions)
    unused = torch.zeros(int(sequences.lengths.sum()))
    rollouts = Rollouts(sequences, unused, unused)
    student, shown, answers = ([torch.tensor(one[i]) for one in drawn["demonstrations"]] for i in range(3))
    demonstrations = Demonstrations(Sequences(student, answers), Sequences(shown, answers), 0, 0)
    method, learner, old_logp = trainer.method, trainer.learner, {}
    old_logp[id(rollouts)] = (rollouts, torch.full_like(unused, torch.nan))
    gradients = []
    for number, update in enumerate(updates):
        weights = dict(trainer.policy.causal_lm.named_parameters())
        for name, value in weights.items():
            value.data.copy_(update["weights"][name])
        learner.optimizer.zero_grad(set_to_none=False)
        learn = Update(learner, old_logp, is_first=number == 0)
        learn.policy(method.surrogate, rollouts, method.advantages(drawn["rewards"]), method.clip)
        learn.distill(method.divergence, demonstrations, method.top_k, method.distill_weight)
        gradients.append({name: value.grad.clone() for name, value in weights.items()})
    return gradients


def difference(found: dict, expected: dict) -> float:
    """The norm of the difference relative to the norm of the expected gradient."""
    apart = torch.stack([(found[name] - value).norm() for name, value in expected.items()]).norm()
    return float(apart / torch.stack([value.norm() for value in expected.values()]).norm())
