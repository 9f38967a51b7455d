"""From finished runs to verdicts: reading outcomes, contrasts with intervals, the paper's claims and their rules."""
