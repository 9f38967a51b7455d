"""Publish a finished study as the committed reference: its small files, and the README's tables made from them."""

import re
import shutil
from pathlib import Path

from hdpo.study.study import Study
from hdpo.system.errors import UserError

PATTERNS = (
    *("summary.csv", "summary.html", "check.*", "verdicts.md", "statistics*", "gains*", "report.*"),
    *("theory/*", "audit/*", "tables/*", "figures/*", "benchmarks/*", "eval/*/*"),
    *(f"runs/*/*/{name}" for name in ("run.json", "metrics.jsonl", "evals.parquet")),
)
BLOCK = re.compile(r"(<!-- from (?P<path>\S+) -->\n)(.*?)(<!-- end -->)", re.S)


def publish(study: Study, readme: Path = Path("README.md")) -> Path:
    """Copy results/<name>/ to results/reference/<name>/ and refresh the README's generated blocks.

    Raises:
        UserError: the study has no finished check yet.
    """
    if not (study.root / "check.md").is_file():
        raise UserError(f"{study.root}/check.md: missing; run the whole workflow before publishing it")
    out = Path("results/reference") / study.name
    for part in {Path(pattern).parts[0] for pattern in PATTERNS if "/" in pattern}:
        shutil.rmtree(out / part, ignore_errors=True)
    for pattern in PATTERNS:
        for source in sorted(study.root.glob(pattern)):
            target = out / source.relative_to(study.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    readme.write_text(fill_blocks(readme.read_text(encoding="utf-8")), encoding="utf-8")
    return out


def fill_blocks(text: str) -> str:
    """Replace the text between `<!-- from PATH -->` and `<!-- end -->` by the file at PATH."""

    def fill(match: re.Match) -> str:
        return match[1] + "\n" + Path(match["path"]).read_text(encoding="utf-8").strip() + "\n\n" + match[4]

    return BLOCK.sub(fill, text)
