"""The words of figures and tables, from templates/captions.yaml."""

from pathlib import Path

import yaml

TEMPLATES = Path(__file__).parent / "templates"
WORDS = yaml.safe_load((TEMPLATES / "captions.yaml").read_text(encoding="utf-8"))
FIGURES: dict[str, dict[str, str]] = WORDS["figures"]  # title, caption and alternative text by stem


def caption(table: str, **values: object) -> str:
    """A table's caption, with `values` for the names in braces."""
    return WORDS["tables"][table].format(df=WORDS["df"], holm=WORDS["holm"], **values)
