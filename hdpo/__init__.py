"""HDPO reproducibility study kit (arXiv:2603.23871).

Dimension letters, used in shape comments and docstrings throughout the package:

    P  prompts of a step               G  rollouts per prompt
    N  sequences (P·G, or demonstrations)
    T  completion tokens (padded)      M  completion tokens of a batch, flattened without padding
    V  vocabulary                      K  teacher's top-k logits, or the k of pass@k
    S  seeds                           Q  evaluation problems
"""

__version__ = "0.1.0"
