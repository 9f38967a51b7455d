"""HDPO reproducibility study kit (arXiv:2603.23871).

The names in `__all__` are the library: losses, advantages, the cliff mask, the teacher's targets, statistics and study
loading. Each is imported when it is first used, so `import hdpo` costs nothing and needs no extra.

Dimension letters, used in shape comments and docstrings throughout the package:

    P  prompts of a step               G  rollouts per prompt
    N  sequences (P·G, or demonstrations)
    T  completion tokens (padded)      M  completion tokens of a batch, flattened without padding
    V  vocabulary                      K  teacher's top-k logits, or the k of pass@k
    S  seeds                           Q  evaluation problems
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdpo.learning.advantages import group_advantages
    from hdpo.learning.cliffs import cliff_mask
    from hdpo.learning.jsd import jsd_k, teacher_top_k, top_k_jsd
    from hdpo.learning.policy_gradient import clipped_surrogate, truncated_importance
    from hdpo.stats.paired import Estimates, contrast, estimate
    from hdpo.stats.passk import any_of_k, pass_at_k
    from hdpo.study.study import Study, load_study

__version__ = "0.1.0"

__all__ = [
    "Estimates",
    "Study",
    "any_of_k",
    "cliff_mask",
    "clipped_surrogate",
    "contrast",
    "estimate",
    "group_advantages",
    "jsd_k",
    "load_study",
    "pass_at_k",
    "teacher_top_k",
    "top_k_jsd",
    "truncated_importance",
]

HOMES = {
    "hdpo.learning.advantages": ("group_advantages",),
    "hdpo.learning.cliffs": ("cliff_mask",),
    "hdpo.learning.jsd": ("jsd_k", "teacher_top_k", "top_k_jsd"),
    "hdpo.learning.policy_gradient": ("clipped_surrogate", "truncated_importance"),
    "hdpo.stats.paired": ("Estimates", "contrast", "estimate"),
    "hdpo.stats.passk": ("any_of_k", "pass_at_k"),
    "hdpo.study.study": ("Study", "load_study"),
}


def __getattr__(name: str) -> Any:
    """Import an exported name from its home (PEP 562)."""
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'hdpo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
