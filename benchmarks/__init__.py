"""Benchmarks: how fast the kit is beside other tools, beside the machine's limits, and beside another version."""
