"""The study file: its sections, the methods and tasks it may name, and the identity of each run."""
