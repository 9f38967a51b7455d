"""A training method and a task for hdpo, from outside."""
