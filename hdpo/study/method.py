"""What a study file calls a method: a class with typed parameters and one training step.

Subclass `Method`, declare the parameters as fields, and write `step`. The class is registered by being a file in
`hdpo/methods/`, or by an entry point of an installed package (see `hdpo.study.registry`).
"""

import math
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hdpo.study.schema import Section

if TYPE_CHECKING:
    from hdpo.learning.trainer import Trainer
    from hdpo.study.study import Study


VALUE = r"(?:(?<=\d)e-|[^-+])+"  # a value in a run's name; 1e-05 is one, although it holds a minus


class Method(Section, ABC):
    """A training method with its parameters. One instance is one arm of a study."""

    name: ClassVar[str]  # as study files write it
    named: ClassVar[tuple[str, ...]] = ()  # parameters that every run's name shows, in this order
    needs_hint: ClassVar[bool] = False  # it asks for y*, beside what a teacher is shown
    learns_from: ClassVar[Literal["nothing more", "reference", "hinted rollouts", "teacher's view"]] = "nothing more"

    @abstractmethod
    def step(self, trainer: "Trainer") -> None:
        """One training step: draw, sample, score, and update the weights once or several times."""

    def check(self, study: "Study") -> None:
        """Raise ValueError with one line if the rest of the study does not suit this method."""

    @property
    def teacher_kind(self) -> Literal["drifting", "frozen", "ema"] | None:
        """The teacher that the step asks for: the current weights, the initial ones, their moving average, or none."""
        return None

    @property
    def teacher_decay(self) -> float | None:
        """Decay of the moving average of an `ema` teacher."""
        return None

    @property
    def privileged_draw(self) -> tuple[int, int]:
        """The most prompts that a step shows with their hint, and the tries for each: what distillation costs."""
        return (0, 0)

    @property
    def uses_hints(self) -> bool:
        """Whether a step asks for y* of some problem; training problems without one are then refused."""
        return self.needs_hint or self.privileged_draw[0] > 0

    @property
    def run_name(self) -> str:
        """`hdpo-drifting-0.1`: the method, its named parameters, then `+key=value` for each that is not the default.

        Raises:
            ValueError: the name cannot hold a value exactly.
        """
        positions = "".join(f"-{as_name(key, getattr(self, key))}" for key in self.named)
        fields = type(self).model_fields
        others = [key for key in fields if key not in self.named and getattr(self, key) != fields[key].default]
        return self.name + positions + "".join(f"+{key}={as_name(key, getattr(self, key))}" for key in others)

    @property
    def described(self) -> dict[str, Any]:
        """Name and parameters, as a study file could state this arm."""
        return {"method": self.name} | self.model_dump(mode="json")


def as_name(key: str, value: Any) -> str:
    """A parameter's value as part of a run's name, from which `registry.parse_run` reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        text = f"{value + 0.0:g}".replace("e+0", "e").replace("e+", "e")  # −0 is 0
        if not math.isclose(float(text), value, rel_tol=1e-15):
            raise ValueError(f"{key}: {value!r} has more than six significant digits, too many for a run's name")
    else:
        text = str(value)
    if not re.fullmatch(VALUE, text) or not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", text) or set(text) == {"."}:
        raise ValueError(f"{key}: {text!r} cannot be part of a run's name")
    return text
