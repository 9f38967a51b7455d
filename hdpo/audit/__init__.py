"""The audit of the paper's own reported numbers: what they support by themselves, under stated assumptions."""
