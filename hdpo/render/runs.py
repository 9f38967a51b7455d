"""Names of runs, taken apart: `<method>[-<value>…][+<key>=<value>…]`, as in `hdpo-drifting-0.1` or `grpo+clip=0.1`."""

import re
from dataclasses import dataclass

BASE, BASELINE = "base", "grpo"  # the untrained policy, and what every other run is compared with
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
WORDS = {BASE: "base model", BASELINE: "GRPO"}


@dataclass(frozen=True)
class RunName:
    """The parts of a run's name. A family holds the runs that differ in nothing but numbers and settings."""

    family: str  # `hdpo-drifting`
    values: tuple[float, ...]  # the numbers at its end
    settings: tuple[str, ...]  # `clip=0.1`

    @property
    def method(self) -> str:
        """What its strength is compared within: HDPO's two teachers share one scale of λ."""
        return "hdpo" if self.family.startswith("hdpo-") else self.family

    @property
    def level(self) -> tuple[tuple[float, ...], tuple[str, ...]]:
        return self.values, self.settings


def parse_run(run: str) -> RunName:
    """Take a name apart; any text is a name."""
    name, *settings = re.split(r"(?<!\de)\+", run)  # not at the sign of an exponent
    match = re.fullmatch(rf"(.+?)((?:-{NUMBER})*)", name, re.DOTALL)
    numbers = re.findall(rf"-({NUMBER})", match[2]) if match else []
    return RunName(match[1] if match else name, tuple(map(float, numbers)), tuple(settings))


def family_label(family: str) -> str:
    """`hdpo-drifting` as `drifting teacher`, `grpo` as `GRPO`; any other family by its own name."""
    return f"{family.removeprefix('hdpo-')} teacher" if family.startswith("hdpo-") else WORDS.get(family, family)


def run_label(run: str) -> str:
    """`hdpo-frozen-0.1` as `HDPO frozen, λ = 0.1`; `toy-3+depth=2` as `toy, 3, depth = 2`."""
    name = parse_run(run)
    numbers = [f"{value:g}" for value in name.values]
    label = WORDS.get(name.family, name.family)
    if name.family.startswith("hdpo-"):
        label = f"HDPO {name.family.removeprefix('hdpo-')}"
        numbers = [f"λ = {numbers[0]}", *numbers[1:]] if numbers else []
    return ", ".join([label, *numbers, *(setting.replace("=", " = ") for setting in name.settings)])
