"""HDPO for TRL: `GRPOTrainer` with the paper's distillation term on cliff prompts (extra `trl`; see docs/trl.md)."""

from importlib.util import find_spec

if find_spec("trl") is None:
    raise ImportError('hdpo.trl needs the extra "trl"; pip install "hdpo[trl]"')

from hdpo.trl.config import HDPOConfig
from hdpo.trl.trainer import HDPOTrainer

__all__ = ["HDPOConfig", "HDPOTrainer"]
