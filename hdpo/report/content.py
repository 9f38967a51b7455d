"""Everything that the PDF and the web page say about a study, read from its results; missing parts are None."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hdpo.claims.answer import NOTHING
from hdpo.claims.check import KINDS, READING, count_verdicts, verdict_text
from hdpo.claims.claims import VERDICTS, AnyClaim, claims_of
from hdpo.claims.reference import COMPARISON_RULE
from hdpo.claims.reported import reported_facts, reported_hyperparameters, reported_scores
from hdpo.claims.summary import config_hash
from hdpo.render.document import read_document
from hdpo.render.runs import run_label
from hdpo.render.table import Table, make_table, read_tables, stacked
from hdpo.report.captions import FIGURES
from hdpo.report.lead import finding_data
from hdpo.report.origins import origins, runs_table
from hdpo.report.reasons import LEVEL, POWER, reason, rule_in_words
from hdpo.report.story import in_brief, story_of
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_json
from hdpo.theory.statements import VERDICTS as THEORY_VERDICTS
from hdpo.theory.statements import read_theory, theory_table

# Tables of the results by name: the file below tables/.
RESULT_TABLES = {
    **{"headline": "headline", "protocols": "table1", "beside": "table1_paper", "beside-differences": "table1_paper"},
    **{"hyperparameters": "table2", "cost": "cost"},
}


def report_data(study: Study) -> dict[str, Any]:
    """Claims with verdicts and reasons, tables, figures, theory, audit, origins: plain data, and tables of `render`.

    Raises:
        UserError: a result is damaged, or was written for another configuration or other claims; names the file.
    """
    _require_same_config(study)
    claims, check, sources = claims_of(study), _check(study), origins(study)
    rows, paper = _claims(study, claims, check), reported_hyperparameters()
    theory, story = read_theory(study.root / "theory" / "theory.csv"), story_of(study)
    return {
        "study": study.name,
        "config": study.model_dump(mode="json"),
        "paper": dict(zip(paper["key"], paper["value"], strict=True)),
        "intervals": {"level": LEVEL, "power": POWER},
        "reading": READING,
        "claims": rows,
        "answer": (check or {}).get("answer", NOTHING),
        "finding": finding_data(study),
        "story": story and in_brief(story),
        "counts": _counts(claims, rows, beyond=False),
        "counts_beyond": _counts(claims, rows, beyond=True),
        "departures": (check or {}).get("departures", []),
        "tables": _result_tables(study) | _claim_tables(rows) | _check_tables(check) | {"runs": runs_table(sources)},
        "comparison_rule": COMPARISON_RULE,
        "reference_counts": dict(Counter(row["result"] for row in (check or {}).get("reference", []))),
        "figures": _figures(study, "figures") + _figures(study, "theory"),
        "theory": None if theory is None else _theory(theory),
        "audit": _page(study, "audit/audit"),
        "statistics": _page(study, "statistics"),
        "gains": _page(study, "gains"),
        "origins": sources,
    }


def _require_same_config(study: Study) -> None:
    """Refuse a summary of runs with another configuration: all tables and verdicts rest on it."""
    path = study.root / "summary.csv"
    if not path.exists():
        return
    try:
        stated = pd.read_csv(path, usecols=["run", "config"], dtype=str).drop_duplicates()
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a summary of this version; write it again") from error
    for run, config in stated.itertuples(index=False):
        if run in (BASE_RUN, *study.runs) and config != config_hash(study, run):
            raise UserError(f"{path}: holds {run} with another configuration; write summary, tables and check again")


def _check(study: Study) -> dict[str, Any] | None:
    """check.json, None where it is missing."""
    path = study.root / "check.json"
    if not path.exists():
        return None
    check = read_json(path)
    if not isinstance(check, dict) or not {"study", "claims"} <= set(check):
        raise UserError(f"{path}: not a check of this version; write it again")
    if check["study"] != study.name or check.get("config_hash", study.identity) != study.identity:
        raise UserError(f"{path}: is of another study or configuration; write it again")
    return check


def _claims(study: Study, claims: list[AnyClaim], check: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One entry per claim, in the claims' order; without a check, each is not run."""
    found = {row["id"]: row for row in check["claims"]} if check else {}
    blank = dict.fromkeys(("reported", "measured", "MDE", "seeds"), "—") | {"verdict": "not run", "data": None}
    reported, entries = reported_scores(), []
    for claim in claims:
        row = found.get(claim.id, {}) if check else blank | {"claim": claim.statement, "quantity": claim.quantity}
        if row.get("claim") != claim.statement or row["verdict"] not in VERDICTS:
            stale = f"{study.root / 'check.json'}: was written for other claims than hdpo/paper/claims.yaml"
            raise UserError(f"{stale}; write it again")
        entry = {"id": claim.id, "number": re.findall(r"\d+|\D+", claim.id)[0], "beyond": claim.beyond}
        entry |= {"claim": claim.statement, "where": claim.where, "quantity": row.get("quantity", claim.quantity)}
        entry |= {key: str(row[key]) for key in ("reported", "measured", "MDE", "seeds", "verdict")}
        entry |= {"kind": KINDS[claim.kind], "shown": verdict_text(entry["verdict"], entry["MDE"])}
        entries.append(entry | {"rule": rule_in_words(claim), "reason": reason(claim, row, reported)})
    return entries


def _counts(claims: list[AnyClaim], rows: list[dict[str, Any]], beyond: bool) -> dict[str, dict[str, int]]:
    """Verdicts of the paper's claims, or of those beyond it, by the title of their kind."""
    pairs = [(claim, row["verdict"]) for claim, row in zip(claims, rows, strict=True) if claim.beyond == beyond]
    counted = count_verdicts([claim for claim, _ in pairs], [verdict for _, verdict in pairs])
    return {KINDS[kind]: found for kind, found in counted.items() if found}


def _result_tables(study: Study) -> dict[str, Table | None]:
    found = {
        name.replace("-", "_"): read_tables(study.root / "tables" / f"{stem}.json").get(name)
        for name, stem in RESULT_TABLES.items()
    }
    return found | {"headline": found["headline"] and _df_below(stacked(found["headline"]))}


def _df_below(table: Table) -> Table:
    """Degrees of freedom on a line of their own, so that columns stay narrow."""
    return replace(table, rows=tuple(tuple(cell.replace(" (df", "\n(df") for cell in row) for row in table.rows))


def _claim_tables(rows: list[dict[str, Any]]) -> dict[str, Table]:
    """Every verdict, and every rule."""
    frame = pd.DataFrame(rows).assign(reported=[row["reported"].replace("; ", "\n") for row in rows])
    frame = frame.drop(columns="verdict").rename(columns={"rule": "counts as reproduced if", "shown": "verdict"})
    columns = {
        "verdicts": ["id", "claim", "reported", "measured", "MDE", "verdict"],
        "rules": ["id", "where", "quantity", "counts as reproduced if", "seeds"],
    }
    words = set(frame.columns) - {"MDE", "seeds"}
    return {name: make_table(name, frame[kept], words=words) for name, kept in columns.items()}


def _check_tables(check: dict[str, Any] | None) -> dict[str, Table | None]:
    """What the reported numbers say, and the comparison with the committed run."""
    rows = [row | {"run": run_label(row["run"])} for row in (check or {}).get("reference", [])]
    reference = make_table("reference", pd.DataFrame(rows), words=["run", "metric", "result"]) if rows else None
    return {"facts": make_table("facts", reported_facts(reported_scores())), "reference": reference}


def _figures(study: Study, folder: str) -> list[dict[str, Any]]:
    """The planned figures of a folder in their order, then any other; `there` says whether both files are.

    Raises:
        UserError: a figure is a link out of the study's results. A report is passed on, and must not carry along
            what else lies on this machine.
    """
    planned = [stem for stem in FIGURES if stem.startswith(f"{folder}/")]
    others = [f"{folder}/{path.stem}" for path in sorted((study.root / folder).glob("*.png"))]
    figures = []
    for stem in dict.fromkeys([*planned, *others]):
        plain = Path(stem).name.replace("_", " ").replace("-", " ").capitalize()
        words = FIGURES.get(stem, {"title": plain, "caption": "", "alt": f"Figure: {plain}."})
        caption = words["caption"].format(intervals=f"{100 * LEVEL:g} % intervals")
        paths = [study.root / f"{stem}.{kind}" for kind in ("png", "pdf")]
        for path in paths:
            if not path.resolve().is_relative_to(study.root.resolve()):
                raise UserError(f"{path}: outside {study.root}")
        there = all(path.is_file() for path in paths)
        figures.append({"stem": stem} | words | {"caption": caption, "there": there})
    return figures


def _theory(frame: pd.DataFrame) -> dict[str, Any]:
    """Counts, the statements that fail, and the whole table."""
    counts = {verdict: int((frame["verdict"] == verdict).sum()) for verdict in THEORY_VERDICTS}
    fails = frame.loc[frame["verdict"] == "fails", "statement"].unique().tolist()
    return {"total": len(frame), "counts": counts, "fails": fails, "table": theory_table(frame.drop(columns="id"))}


def _page(study: Study, stem: str) -> dict[str, Any] | None:
    """A document of the results, and the figures beside it."""
    document, folder = read_document(study.root / f"{stem}.json"), str(Path(stem).parent)
    figures = [] if folder == "." else _figures(study, folder)
    return None if document is None else {"document": document, "figures": figures}
