"""The reproduction report as PDF: its data as JSON, its text in hdpo/paper/report.typ, typeset by Typst."""

import json
import os
import shutil
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hdpo.claims.reported import PAPER
from hdpo.report.content import report_data
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.system.files import write_atomic, write_json

PARTS = ("*.typ", "*.yml")
FIGURE_FOLDERS = ("figures", "theory", "audit")
NO_TIME = datetime(1980, 1, 1, tzinfo=UTC)  # the PDF carries no date, so that equal results give equal bytes


def write_pdf(study: Study) -> Path:
    """Write `<root>/report.pdf`, and the `<root>/report.json` that its text reads.

    Typst compiles a copy of sources, data and figures in a folder of its own and sees nothing else. It uses only the
    fonts that it brings along. Parts that were not run say so.

    Raises:
        UserError: a result is damaged or belongs elsewhere, or the report's source is missing or faulty.
    """
    data, out = report_data(study), study.root / "report.pdf"
    if not (PAPER / "report.typ").is_file():
        raise UserError(f"{PAPER / 'report.typ'}: no such file; install hdpo again")
    write_json(study.root / "report.json", json.loads(json.dumps(data, default=asdict)))
    with tempfile.TemporaryDirectory(prefix="hdpo-report-") as folder:
        _collect(study, data, Path(folder))
        pdf = compile_report(Path(folder))
    write_atomic(out, lambda temporary: temporary.write_bytes(pdf))
    return out


def compile_report(folder: Path) -> bytes:
    """The PDF of `folder`/paper/report.typ with the data at `folder`/results/report.json.

    Raises:
        UserError: Typst does not accept the source; holds its first complaint.
    """
    import typst

    try:
        return typst.compile(
            str(folder / "paper" / "report.typ"),
            root=str(folder),
            format="pdf",
            ignore_system_fonts=True,
            timestamp=NO_TIME,
            sys_inputs={"data": "/results/report.json"},
        )
    except RuntimeError as error:
        raise UserError(f"{PAPER / 'report.typ'}: {' '.join(str(error).split())[:300]}") from error


def _collect(study: Study, data: dict[str, Any], folder: Path) -> None:
    """Copy sources to paper/, data and vector figures to results/, the finding's figure to where the data say."""
    copied = [(source, "paper") for pattern in PARTS for source in PAPER.glob(pattern)]
    copied.append((study.root / "report.json", "results"))
    if data["finding"] and data["finding"]["figure"]["there"]:
        file = study.root / f"{data['finding']['figure']['stem']}.pdf"
        copied.append((file, os.path.normpath(f"results/{os.path.relpath(file.parent, study.root)}")))
    copied += [(file, f"results/{name}") for name in FIGURE_FOLDERS for file in (study.root / name).glob("*.pdf")]
    for source, place in copied:
        (folder / place).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / place / source.name)
