"""The policy as a language model: loading, and the one place that shifts and masks. `small/` is a fast CPU decoder."""
