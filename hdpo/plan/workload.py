"""How many tokens one run of a study samples and trains on."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, get_type_hints

from hdpo.plan.hardware import LEVELS
from hdpo.study.method import Method
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.tasks.countdown import Countdown


@dataclass(frozen=True)
class Assumptions:
    """What nobody can know before the run: means per sequence or per step."""

    prompt: Annotated[float, "tokens of a prompt with its template"]
    hint: Annotated[float, "tokens that the ground truth adds to it"]
    response: Annotated[float, "tokens of a response, mean"]
    cliffs: Annotated[float, "share of prompts on which every rollout fails"]
    signal: Annotated[float, "share of rollouts with an advantage other than 0"]  # those that are trained on
    privileged_pass: Annotated[float, "share of privileged rollouts that are correct"]
    scored: Annotated[float, "answers scored per second and CPU thread"]


MEANING = {name: hint.__metadata__[0] for name, hint in get_type_hints(Assumptions, include_extras=True).items()}

# Low, likely and high cost. Outside Countdown, lengths are of English problems at about 3.5 characters a token
# with a chat template; shares are guesses from the paper's pass@k and from the small world.
OUTSIDE = {
    "openmathinstruct2": (
        Assumptions(120, 200, 350, 0.08, 0.35, 0.5, 1000),
        Assumptions(150, 280, 500, 0.15, 0.5, 0.7, 500),
        Assumptions(200, 400, 800, 0.30, 0.7, 0.9, 250),
    ),
    "gsm8k": (
        Assumptions(120, 80, 140, 0.10, 0.5, 0.5, 1000),
        Assumptions(140, 100, 200, 0.20, 0.7, 0.7, 500),
        Assumptions(170, 130, 300, 0.35, 0.9, 0.9, 250),
    ),
}


def assumptions(study: Study, level: str, changes: dict[str, float] | None = None) -> Assumptions:
    """Of the study's task at one level of cost; `changes` replaces single values at every level.

    Countdown's lengths follow from its sizes; responses are taken to be as long as the reference solution, ± 20 %.

    Raises:
        UserError: a name in `changes` is none, or its value is out of range.
    """
    index, task = LEVELS.index(level), study.task
    known = _countdown(study, task, index) if isinstance(task, Countdown) else _written(study, index)
    for name, value in (changes or {}).items():
        if name not in MEANING:
            raise UserError(f"assumption {name!r}: unknown; choose from {', '.join(MEANING)}")
        is_share = name in ("cliffs", "signal", "privileged_pass")
        if not (0 <= value <= 1 if is_share else 0 < value < math.inf):
            wanted = "share from 0 to 1" if is_share else "number above 0"
            raise UserError(f"assumption {name}: {value:g} is no {wanted}")
    return replace(known, **(changes or {}))


def _countdown(study: Study, task: Countdown, index: int) -> Assumptions:
    """k numbers make a prompt of k + 3 tokens and a chain of k − 1 steps of six, counting separators and the end."""
    prompt = sum(share * (k + 3) for k, share in task.mixture.items())
    chain = sum(share * 6 * (k - 1) for k, share in task.mixture.items())
    response = min(chain * (0.8, 1.0, 1.2)[index], study.train.max_response_tokens)
    shares = ((0.05, 0.5, 0.5), (0.15, 0.7, 0.7), (0.3, 0.9, 0.9))[index]
    return Assumptions(prompt, chain if task.hint == "solution" else 6, response, *shares, scored=20000)


def _written(study: Study, index: int) -> Assumptions:
    """A preset's; of any other task, shares of the room that the study leaves to prompts and responses."""
    if study.task.name in OUTSIDE:
        return OUTSIDE[study.task.name][index]
    response = study.train.max_response_tokens
    room, share = study.model.max_length - response, (0.2, 0.35, 0.5)[index]
    return replace(OUTSIDE["gsm8k"][index], prompt=share * room, hint=share * room, response=2 * share * response)


def extremes(study: Study) -> list[Method]:
    """The cheapest and the dearest arm by their privileged rollouts; one if there is no difference."""

    def costs(arm: Method) -> tuple[int, bool]:
        return math.prod(arm.privileged_draw), arm.teacher_kind in ("frozen", "ema")

    arms = sorted(study.methods, key=costs)
    return [arms[0], arms[-1]] if math.prod(arms[-1].privileged_draw) else [arms[0]]


@dataclass(frozen=True)
class Draw:
    """A call of the sampler: `prompts` prompts of `prompt` tokens, `group` responses each."""

    prompts: float
    group: float
    prompt: float
    response: float

    @property
    def rows(self) -> float:
        return self.prompts * self.group

    @property
    def tokens(self) -> float:
        """Sampled tokens."""
        return self.rows * self.response


@dataclass(frozen=True)
class Workload:
    """One run: what is drawn per step and per evaluation, what is trained on, and how often."""

    steps: int
    evaluations: int
    rollout: Draw
    privileged: Draw
    evaluation: tuple[Draw, Draw]  # greedy and sampled answers of one evaluation during training
    test: tuple[Draw, Draw, Draw]  # greedy and sampled answers, and further tries at what the base never solves
    trained_rows: float  # per step, forward and backward
    distilled_rows: float  # per step, forward and backward of the student, forward of the teacher

    def tokens(self) -> dict[str, float]:
        """Completion tokens of the whole run by kind, as in `run.json`, and those of its evaluations and test."""
        return {
            "rollout": self.steps * self.rollout.tokens,
            "privileged": self.steps * self.privileged.tokens,
            "trained": self.steps * self.trained_rows * self.rollout.response,
            "distill": self.steps * self.distilled_rows * self.rollout.response,
            "evaluation": self.evaluations * sum(draw.tokens for draw in self.evaluation),
            "test": sum(draw.tokens for draw in self.test),
        }


def workload(study: Study, assumed: Assumptions, method: Method) -> Workload:
    """What one run of the study's `method` draws and trains on."""
    train, evaluate, problems = study.train, study.evaluate, study.task.problems
    most, tries = method.privileged_draw
    cliffs = min(train.prompts_per_step * assumed.cliffs, most)
    privileged = Draw(cliffs, tries, assumed.prompt + assumed.hint, assumed.response)

    def draw(count: float, group: int) -> Draw:
        return Draw(count, group, assumed.prompt, assumed.response)

    evaluated = problems.development + problems.validation
    hard = problems.test * assumed.cliffs  # about as many as the base model never solves
    again = (evaluate.conversion_samples or evaluate.test_samples) - evaluate.test_samples
    rollout = draw(train.prompts_per_step, train.rollouts_per_prompt)
    return Workload(
        steps=train.steps,
        evaluations=math.ceil(train.steps / evaluate.every),
        rollout=rollout,
        privileged=privileged,
        evaluation=(draw(evaluated, 1), draw(evaluated, evaluate.samples)),
        test=(draw(problems.test, 1), draw(problems.test, evaluate.test_samples), draw(hard, again)),
        trained_rows=rollout.rows * assumed.signal * train.updates_per_batch,
        distilled_rows=privileged.rows * assumed.privileged_pass * train.updates_per_batch,
    )
