"""Controls and ablations: the questions of a plan, each answered by one contrast in every regime."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hdpo.claims.registration import Question, Registration, plan_of, remarks
from hdpo.claims.results import Results, compare
from hdpo.render.document import Document, Section, write_document
from hdpo.render.formats import NOT_RUN, metric_label, points
from hdpo.render.style import save_figure
from hdpo.render.table import Table, make_table, write_text
from hdpo.report.captions import caption
from hdpo.report.controls_figure import controls_figure
from hdpo.report.gains_figure import LEVEL
from hdpo.stats.power import holm
from hdpo.study.study import Study
from hdpo.system.errors import UserError

METRICS = ("greedy", "pass@8")
TITLES = {"control": "Controls", "ablation": "Ablations", "change": "Other settings"}
ENDS = ["diff", "low", "high", "low90", "high90", "df"]
COLUMNS = ["kind", "ask", "what", "regime", "study", "run", "against", "metric", "margin", "seeds", *ENDS, "p"]


def write_controls(studies: Sequence[Study], out: Path = Path("results/controls")) -> Path:
    """Write controls.md, .json, .csv, and the figure as PNG and PDF.

    Raises:
        UserError: a study has no plan with questions, or one of another plan; or a result is damaged.
    """
    plans = {study.name: plan_of(study) for study in studies}
    files = {found[0] if found and found[1].questions else None for found in plans.values()}
    if None in files or len(files) > 1:
        names = ", ".join(study.name for study in studies)
        raise UserError(f"studies {names}: one plan with questions must name them all (hdpo/paper/plan*.yaml)")
    found = plans[studies[0].name]
    assert found is not None
    results = [Results(study) for study in studies]
    frame = control_frame(results, found[1])
    write_text(out / "controls.csv", frame.to_csv(index=False, float_format="%.6f"))
    save_figure(controls_figure(frame), out / "controls")
    parts = [Section("", ("Every contrast was planned before its runs.", *remarks(results)))]
    parts += [
        Section(title, (), (question_table(kind, frame[frame["kind"] == kind]),))
        for kind, title in TITLES.items()
        if (frame["kind"] == kind).any()
    ]
    write_document(out / "controls", Document("What matters, and what does not", tuple(parts)))
    return out / "controls.md"


def control_frame(results: Sequence[Results], plan: Registration) -> pd.DataFrame:
    """One row per question × study × metric: the paired difference in shares, its intervals, p and the verdict.

    Holm's correction is over all rows. A contrast that was not run has nan.
    """
    rows = []
    for question in plan.questions:
        for part in results:
            named = part.study.name.rpartition("-")[0] == question.study
            if named and {question.run, question.against} <= set(part.study.runs):
                rows += _rows(question, part, plan)
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"p": float, "margin": float})
    frame["p_holm"] = holm(frame["p"].to_numpy())
    frame["verdict"] = [verdict_of(row) for row in frame.to_dict("records")]
    return frame


def _rows(question: Question, results: Results, plan: Registration) -> list[dict[str, object]]:
    planned = plan.studies[results.study.name]
    shared = question.model_dump() | {"study": results.study.name, "regime": planned.regime, "margin": planned.margin}
    weights = {question.run: 1.0, question.against: -1.0}
    rows = []
    for metric in METRICS:
        (found,) = compare(results.contrasts("test", metric, [weights]))
        numbers = found.row | {"low90": found.low90, "high90": found.high90} if found else {"seeds": 0}
        rows.append(shared | {"metric": metric} | numbers)
    return rows


def verdict_of(row: dict[str, float]) -> str:
    """`better` or `worse` where the corrected p is small; `same` where the 90 % interval lies within the margin."""
    if np.isnan(row["diff"]):
        return NOT_RUN
    if row["p_holm"] <= LEVEL:
        return "better" if row["diff"] > 0 else "worse"
    within = 100 * max(abs(row["low90"]), abs(row["high90"])) < row["margin"]
    return f"same within {row['margin']:g}" if within else "not settled"


def question_table(kind: str, frame: pd.DataFrame) -> Table:
    """Questions down; differences and verdicts of each regime and metric across."""
    values = zip(map(points, *(frame[end] for end in ("diff", "low", "high", "df"))), frame["verdict"], strict=True)
    cells = [verdict if verdict == NOT_RUN else f"{shown}\n{verdict}" for shown, verdict in values]
    long = frame.assign(cell=cells, metric=frame["metric"].map(metric_label))
    wide = long.pivot_table(
        index=["ask", "what"], columns=["regime", "metric"], values="cell", aggfunc="first", sort=False
    )
    wide = wide.fillna("—").reset_index()
    wide["ask"] = wide["ask"].mask(wide["ask"].duplicated(), "")
    wide = wide.rename(columns={"ask": "question", "what": "change"}, level=0)
    wide.columns = pd.MultiIndex.from_tuples([(a, b) if b else ("", a) for a, b in wide.columns])
    return make_table(f"controls-{kind}", wide, caption("controls"), words=["question", "change"])
