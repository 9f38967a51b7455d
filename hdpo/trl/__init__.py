"""HDPO for TRL: `GRPOTrainer` with the paper's distillation term on cliff prompts (extra `trl`; see docs/trl.md)."""

from hdpo.trl.config import HDPOConfig
from hdpo.trl.trainer import HDPOTrainer

__all__ = ["HDPOConfig", "HDPOTrainer"]
