"""The map: what HDPO adds to GRPO by depth of the cliffs, λ and training steps, beside what the bandit predicts."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hdpo.claims.registration import remarks
from hdpo.claims.results import Results
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import metric_label, number
from hdpo.render.runs import family_label, parse_run
from hdpo.render.style import save_figure
from hdpo.render.table import Table, make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.cliff_map_figure import map_figure, steps_figure
from hdpo.report.cliff_map_rows import map_rows, with_holm
from hdpo.report.cliff_map_tests import collapse_line, collapse_rows, paper_lines, prediction_line, prediction_rows
from hdpo.report.gains import starred
from hdpo.study.study import Study


def write_map(studies: Sequence[Study], out: Path = Path("results/map")) -> Path:
    """Write map.md, .json, map.csv (differences), prediction.csv, collapse.csv, and the figures map and steps.

    Raises:
        UserError: a study has no base model of its own kind, or a result is damaged or belongs elsewhere.
    """
    results = [Results(study) for study in studies]
    frame = with_holm(pd.concat([map_rows(found) for found in results], ignore_index=True))
    predicted = pd.concat([prediction_rows(found) for found in results], ignore_index=True)
    collapse = pd.concat([collapse_rows(found) for found in results], ignore_index=True)
    for name, part in (("map", frame), ("prediction", predicted), ("collapse", collapse)):
        write_text(out / f"{name}.csv", part.to_csv(index=False, float_format="%.6f"))
    save_figure(map_figure(frame), out / "map")
    save_figure(steps_figure(frame), out / "steps")
    lines = (prediction_line(frame, predicted), collapse_line(collapse), *paper_lines(frame), *remarks(results))
    write_document(out / "map", Document("When HDPO helps", (Section("", lines, (_table(frame),)),)))
    return out / "map.md"


def _table(frame: pd.DataFrame) -> Table:
    """Columns of the map down, λ across: differences on all test problems."""
    part = frame[frame["subset"] == "all"]
    cells = starred(part)
    down = {"base model": part["way"], "depth, %": [number(100 * value, ".3f") for value in part["depth"]]}
    down |= {"method": [family_label(parse_run(run).family) for run in part["run"]]}
    down |= {"metric": part["metric"].map(metric_label)}
    long = pd.DataFrame(down | {"weight": [f"λ = {value:g}" for value in part["weight"]], "cell": cells})
    wide = long.groupby([*down, "weight"], sort=False)["cell"].first().unstack(sort=False).fillna("—").reset_index()
    return make_table("map", wide, caption("map"), words=("base model", "method", "metric"))
