"""Rollouts: by the model itself, or by vLLM with a copy of its weights."""
