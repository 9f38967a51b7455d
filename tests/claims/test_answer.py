"""The answer in one sentence: true to the interval, whichever way it falls, and short."""

import math
import re
from dataclasses import replace

import pytest

from hdpo.claims import answer as module
from hdpo.claims.answer import NOTHING, answer, at_larger_weights
from hdpo.claims.results import Results
from helpers.synthetic import make_study, write_everything

UP = {"value": 0.02, "low": 0.01, "high": 0.03}
DOWN = {"value": -0.02, "low": -0.03, "high": -0.01}
UNCLEAR = {"value": 0.001, "low": -0.01, "high": 0.012}
ALONE = {"value": 0.02, "low": math.nan, "high": math.nan}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = make_study(folder)
        write_everything(study, effect=0.05)
        yield Results(study)


@pytest.mark.parametrize(
    ("pass_at_8", "greedy", "said"),
    [
        (UP, UP, "raises pass@8 by 2.0 points [+1.0, +3.0] and greedy accuracy by 2.0 points [+1.0, +3.0]."),
        (UP, DOWN, "raises pass@8 by 2.0 points [+1.0, +3.0] and lowers greedy accuracy by 2.0 points [−3.0, −1.0]."),
        (
            UNCLEAR,
            UP,
            "does not clearly change pass@8 (+0.1 points [−1.0, +1.2])"
            " and raises greedy accuracy by 2.0 points [+1.0, +3.0].",
        ),
        (ALONE, None, "changes pass@8 by +2.0 points without an interval."),
        (None, None, None),
    ],
)
def test_it_says_what_the_intervals_say(results, monkeypatch, pass_at_8, greedy, said):
    real, ends = module.compare, iter((pass_at_8, greedy))

    def stated(contrasts):
        changes = next(ends)
        return [None if changes is None else replace(part, **changes) for part in real(contrasts)]

    monkeypatch.setattr(module, "compare", stated)
    text = answer(results)
    expected = NOTHING if said is None else f"Against GRPO in study tiny (3 seeds), HDPO at λ = 0.1 {said}"
    assert text == expected
    assert len(re.findall(r"[^\W_]+(?:['’@.-]\w+)*", text)) <= 30


def test_larger_weights_have_a_sentence_each(results, monkeypatch):
    (value,) = module.compare(
        results.contrasts("test", "greedy", [{"hdpo-drifting-1": 0.5, "hdpo-frozen-1": 0.5, "grpo": -1.0}])
    )
    text = at_larger_weights(results)
    assert text.startswith("At λ = 1 it raises pass@8") and f"{100 * value.value:.1f} points" in text
    monkeypatch.setattr(results, "runs", [run for run in results.runs if not run.endswith("-1")])
    assert at_larger_weights(results) == ""


def test_a_study_without_the_papers_runs_speaks_of_its_first(results, monkeypatch):
    monkeypatch.setattr(results, "runs", ["grpo", "hdpo-frozen-1", "hdpo-drifting-1"])
    assert "HDPO frozen, λ = 1 " in answer(results)
    monkeypatch.setattr(results, "runs", ["grpo"])
    assert answer(results) == NOTHING
    monkeypatch.setattr(results, "runs", ["hdpo-frozen-1"])
    monkeypatch.setattr(results, "contrasts", lambda *_: [None])
    assert answer(results) == NOTHING
