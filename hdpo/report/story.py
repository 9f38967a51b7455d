"""The story of one cliff, from the samples of a finished run: the failures, the teacher's rescue, the first success."""

from dataclasses import dataclass
from typing import Any

from hdpo.claims.sources import REFERENCE
from hdpo.render.table import read_as
from hdpo.report.samples import Response, Sampled, find_samples, read
from hdpo.run.samples_file import SAMPLES
from hdpo.study.study import Study

STORY = "story.json"  # of a published study, whose samples are not published


@dataclass(frozen=True)
class Story:
    """`cliff` is the sample in which every rollout fails and a try of the teacher is kept."""

    run: str
    seed: int
    cliff: Sampled
    rescue: Response
    later: Sampled | None  # the first sample after it in which the student solves the problem
    success: Response | None
    tries: int  # of the student in samples after the cliff, up to the success


SHOWN, CLIPPED = 3, 500  # failures in print, and characters of each text


def in_brief(story: Story) -> dict[str, Any]:
    """What fits on paper: the puzzle, some failures, the hint, the rescue and the first success, as text."""
    cliff, failures = story.cliff, dict.fromkeys(response.text for response in story.cliff.student)
    texts = {"puzzle": cliff.prompt, "hint": cliff.privileged, "rescue": story.rescue.text}
    texts["success"] = story.success.text if story.success else ""
    return {
        **{name: _clipped(text) for name, text in texts.items()},
        "failures": [_clipped(text) for text in list(failures)[:SHOWN]],
        "numbers": {"tried": len(cliff.student), "taught": len(cliff.teacher), "later": story.tries}
        | {"right": sum(response.reward for response in cliff.teacher), "step": cliff.step}
        | {"success": story.later.step if story.later else None, "seed": story.seed},
        "run": story.run,
        "problem": cliff.problem,
    }


def _clipped(text: str) -> str:
    return text if len(text) <= CLIPPED else text[:CLIPPED] + " …"


def story_of(study: Study) -> Story | None:
    """The story that the study's own samples tell, or else the published one.

    Raises:
        UserError: samples of a finished run, or the published story, are damaged.
    """
    published = REFERENCE / study.name / STORY
    return find_story(study) or (read_as(Story, published, "a story") if published.is_file() else None)


def find_story(study: Study) -> Story | None:
    """The first story with a success, in the study's order of runs and seeds; else the first without one.

    None if no finished run has samples with a rescued cliff.

    Raises:
        UserError: samples of a finished run are damaged.
    """
    unsolved = None
    for run in study.runs:
        for seed in study.seeds:
            if not (study.run(run, seed).folder / SAMPLES).is_file():
                continue
            for story in stories(run, seed, read(find_samples(study, run, seed))):
                if story.success:
                    return story
                unsolved = unsolved or story
    return unsolved


def stories(run: str, seed: int, samples: list[Sampled]) -> list[Story]:
    """One story for each cliff of a run that the teacher solves."""
    found = []
    for place, cliff in enumerate(samples):
        rescue = next((response for response in cliff.teacher if response.kept and response.tokens), None)
        if cliff.kind != "cliff" or rescue is None:
            continue
        after = [sample for sample in samples[place + 1 :] if sample.problem == cliff.problem]
        tried = [(sample, response) for sample in after for response in sample.student]
        first = next((i for i, (_, response) in enumerate(tried) if response.reward), None)
        later, success = tried[first] if first is not None else (None, None)
        found.append(Story(run, seed, cliff, rescue, later, success, len(tried) if first is None else first + 1))
    return found
