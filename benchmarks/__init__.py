"""Benchmarks: how fast the kit is, beside what people would use instead and beside what the machine can do."""
