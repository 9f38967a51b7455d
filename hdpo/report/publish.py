"""Publish a study as the committed reference: its runs, what was made from them, and the README's tables."""

import re
import shutil
from dataclasses import asdict
from pathlib import Path

from hdpo.claims.sources import REFERENCE, write_published
from hdpo.render.table import write_text
from hdpo.report.lead import FINDING
from hdpo.report.story import STORY, find_story
from hdpo.study.study import Study
from hdpo.system.files import write_json

PATTERNS = (
    *("summary.csv", "summary.html", "check.*", "verdicts.md", "statistics*", "gains*", "report.*"),
    *("theory/*", "audit/*", "tables/*", "figures/*"),
)
TUNING = ("tuning.*", "figures/tuning.*")
ACROSS = ("finding", "map", "controls", "comparison", "sizes")  # folders of what several studies say together
BLOCK = re.compile(r"(<!-- from (?P<path>\S+) -->\n)(.*?)(<!-- end -->)", re.S)


def publish(study: Study, readme: Path = Path("README.md")) -> Path:
    """Write the runs that are finished to results/reference/<name>/, the story of one cliff where samples tell one, and
    what was made from the runs where that is there.

    So with what several studies say together (`ACROSS`). Refresh the README's generated blocks. A study that still runs
    can be published again and again.

    Raises:
        UserError: no run is finished, or a result is damaged.
    """
    out = write_published(study)
    if story := find_story(study):
        write_json(out / STORY, asdict(story))
    checked = (study.root / "check.md").is_file()
    patterns = PATTERNS if checked else TUNING
    for folder in {Path(pattern).parts[0] for pattern in patterns if "/" in pattern}:
        shutil.rmtree(out / folder, ignore_errors=True)
    for pattern in patterns:
        for source in sorted(study.root.glob(pattern)):
            target = out / source.relative_to(study.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if checked:
        for name in ("summary.html", "report.json"):  # there, the published finding is a neighbour
            if (out / name).is_file():
                text = (out / name).read_text(encoding="utf-8")
                write_text(out / name, text.replace("../reference/finding", "../finding"))
    for name in ACROSS:
        if (FINDING.parent / name).is_dir():
            shutil.copytree(FINDING.parent / name, REFERENCE / name, dirs_exist_ok=True)
    if readme.exists():
        readme.write_text(fill_blocks(readme.read_text(encoding="utf-8")), encoding="utf-8")
    return out


def fill_blocks(text: str) -> str:
    """Replace the text between `<!-- from PATH -->` and `<!-- end -->` by the file at PATH."""

    def fill(match: re.Match) -> str:
        return match[1] + "\n" + Path(match["path"]).read_text(encoding="utf-8").strip() + "\n\n" + match[4]

    return BLOCK.sub(fill, text)
