"""From outcomes to verdicts: reading results, statistics, tables, figures, and the check of every claim."""
