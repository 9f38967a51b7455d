"""The paper's Table 2: every hyperparameter, the paper's value beside this study's."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pandas as pd

from hdpo.claims.reported import reported_hyperparameters
from hdpo.study.study import Study

SHOWN: dict[str, Callable[[str], str]] = {
    "tail": {"exact": "½·P_rest·ln 2", "paper": "P_rest·ln 2"}.__getitem__,
    "baseline": lambda name: name.replace("_", "-"),
}
NOT_STATED = "not stated"
BASE_DEFAULT = "[base]"  # the paper is silent; its base framework's default


def hyperparameter_table(study: Study) -> pd.DataFrame:
    """Columns: group, hyperparameter, paper, this study, and `≠` where the two differ.

    Raises:
        UserError: the paper's hyperparameters cannot be read.
    """
    table = reported_hyperparameters()
    table["this study"] = [own_value(study, key) for key in table["key"]]
    stated = table["source"] != NOT_STATED
    table["differs"] = (stated & (table["value"] != table["this study"])).map({True: "≠", False: ""})
    default = table["source"] == BASE_DEFAULT
    table["paper"] = table["value"].where(~default, table["value"] + f" {BASE_DEFAULT}").where(stated, NOT_STATED)
    return table[["group", "hyperparameter", "paper", "this study", "differs"]]


def own_value(study: Study, key: str) -> str:
    """A study's value of one row of the paper's table, as the paper would print it.

    `key` is the place in the study file, `arm.<parameter>` for a parameter of its methods, or a name in `DERIVED` for
    what the study file holds in another form.
    """
    section, _, parameter = key.partition(".")
    if section == "arm":
        values = [getattr(method, parameter) for method in study.methods if hasattr(method, parameter)]
        shown = SHOWN.get(parameter, _text)
        return ", ".join(dict.fromkeys(shown(value) for value in values)) or "none"
    return _text(DERIVED.get(key, attrgetter(key))(study))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    return str(value)


def _model(study: Study) -> str:
    if shape := study.pretrain:
        return f"Qwen2, {shape.layers} layers × {shape.hidden_size}, trained from scratch"
    return study.base_path.removeprefix("Qwen/")


def _data(study: Study) -> str:
    if mixture := getattr(study.task, "mixture", None):
        sizes = ", ".join(f"{k}: {100 * share:g} %" for k, share in sorted(mixture.items()))
        return f"Countdown, problems by size {sizes}"
    return (getattr(study.task, "path", None) or study.task.name).removeprefix("nvidia/")


def _split(study: Study) -> str:
    share = getattr(study.task, "train_share", None)
    return f"{100 * share:g} % / {100 * (1 - share):g} %" if share is not None else "disjoint as problems"


def _hardware(study: Study) -> str:
    gpus, threads = study.hardware.gpus, study.hardware.threads
    return f"{gpus} GPUs" if gpus else f"CPU, {threads} thread{'s' if threads > 1 else ''} per run"


# What no single key of the study file says in the paper's words.
DERIVED: dict[str, Callable[[Study], Any]] = {
    "model": _model,
    "data": _data,
    "split": _split,
    "hardware": _hardware,
    "task.reward": lambda s: getattr(s.task, "reward", "binary, chain replayed"),
    "rollouts_per_step": lambda s: s.train.prompts_per_step * s.train.rollouts_per_prompt,
    # The same in every study, because the kit has nothing else.
    "reference_kl": lambda s: "none",
    "divergence": lambda s: "JSD per token, global token count",
    "cliff": lambda s: "reward sum = 0",
    "success": lambda s: "reward ≥ 1",
}
