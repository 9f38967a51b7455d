"""Runs from start to end: the training loop, evaluation, checkpoints, the base model, and what the Snakefile asks."""
