"""Everything that the PDF and the web page say about a study, read from its results; what is missing stays None."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from hdpo.claims.check import READING
from hdpo.claims.claims import VERDICTS, AnyClaim, load_claims
from hdpo.claims.reference import COMPARISON_RULE
from hdpo.claims.reported import reported_facts, reported_hyperparameters, reported_scores
from hdpo.claims.results import config_hash
from hdpo.render.formats import run_label
from hdpo.report.blocks import Block, grouped, make_table, read_blocks, stacked, tables_of
from hdpo.report.captions import FIGURES
from hdpo.report.origins import origins
from hdpo.report.reasons import LEVEL, MISSING, POWER, reason, rule_in_words
from hdpo.study.study import BASE_RUN, Study
from hdpo.system.errors import UserError
from hdpo.system.files import read_json

THEORY_VERDICTS = ("holds", "holds with limits", "fails")


def report_data(study: Study) -> dict[str, Any]:
    """Plain data, ready for JSON: claims with verdicts and reasons, tables, figures, theory, audit, origins.

    Raises:
        UserError: a result is damaged, or was written for another configuration or other claims; names the file.
    """
    _require_same_config(study)
    claims, check = load_claims(), _check(study)
    rows = _claims(study, claims, check)
    return {
        "study": study.name,
        "config": study.model_dump(mode="json"),
        "paper": _paper(),
        "runs": [run_label(run) for run in study.runs],
        "intervals": {"level": LEVEL, "power": POWER},
        "reading": READING,
        "claims": rows,
        "counts": _counts(rows, beyond=False),
        "counts_beyond": _counts(rows, beyond=True),
        "tables": _tables(study, check),
        "comparison_rule": COMPARISON_RULE,
        "reference_counts": dict(Counter(row["result"] for row in (check or {}).get("reference", []))),
        "figures": _figures(study, "figures") + _figures(study, "theory"),
        "theory": _theory(study),
        "audit": _page(study, "audit/audit"),
        "statistics": _page(study, "statistics"),
        "origins": origins(study),
    }


def _paper() -> dict[str, str]:
    """The paper's hyperparameters by key, as it prints them."""
    table = reported_hyperparameters()
    return dict(zip(table["key"], table["value"], strict=True))


def _require_same_config(study: Study) -> None:
    """Refuse a summary whose runs were configured otherwise: all tables and verdicts rest on it."""
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
    """check.json, None where there is none."""
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
    path = study.root / "check.json"
    reported = reported_scores()
    entries = []
    for claim in claims:
        blank = {"reported": "—", "measured": "—", "MDE": "—", "seeds": "—", "verdict": "not run", "data": None}
        row = found.get(claim.id, None if check else blank)
        if row is None or (check and row["claim"] != claim.statement) or row["verdict"] not in VERDICTS:
            raise UserError(f"{path}: was written for other claims than hdpo/paper/claims.yaml; write it again")
        entry = {"id": claim.id, "number": re.match(r"\d+|\D+", claim.id)[0], "beyond": claim.beyond}
        entry |= {"claim": claim.statement, "where": claim.where, "quantity": row.get("quantity", claim.quantity)}
        entry |= {key: str(row[key]) for key in ("reported", "measured", "MDE", "seeds", "verdict")}
        entry |= {"rule": rule_in_words(claim), "reason": reason(claim, row, reported) if check else MISSING}
        entries.append(entry)
    return entries


def _counts(rows: list[dict[str, Any]], beyond: bool) -> dict[str, int]:
    counts = Counter(row["verdict"] for row in rows if row["beyond"] == beyond)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _tables(study: Study, check: dict[str, Any] | None) -> dict[str, Block | None]:
    """Every table by name, cells as text."""
    folder, found = study.root / "tables", {}
    wanted = {
        "headline": ("headline", 0, stacked),
        "protocols": ("table1", 1, grouped),
        "beside": ("table1_paper", 0, grouped),
        "beside_differences": ("table1_paper", 1, grouped),
        "hyperparameters": ("table2", 0, None),
        "cost": ("cost", 0, None),
    }
    for name, (stem, place, shape) in wanted.items():
        tables = tables_of(read_blocks(folder / f"{stem}.md"))
        table = tables[place] if len(tables) > place else None
        found[name] = shape(table) if table and shape else table
    facts = reported_facts(reported_scores())
    found["facts"] = make_table("", list(facts.columns), facts.astype(str).to_numpy().tolist())
    reference = pd.DataFrame(check.get("reference", []) if check else [])
    rows = reference.assign(run=reference["run"].map(run_label)) if len(reference) else reference
    found["reference"] = make_table("", list(rows.columns), rows.astype(str).to_numpy().tolist()) if len(rows) else None
    return found


def _figures(study: Study, folder: str) -> list[dict[str, Any]]:
    """The planned figures of a folder in their order, then any other; `there` says whether both files are."""
    planned = [stem for stem in FIGURES if stem.startswith(folder + "/")]
    others = [f"{folder}/{path.stem}" for path in sorted((study.root / folder).glob("*.png"))]
    figures = []
    for stem in dict.fromkeys([*planned, *others]):
        plain = Path(stem).name.replace("_", " ").replace("-", " ").capitalize()
        title, caption, alt = FIGURES.get(stem, (plain, "", f"Figure: {plain}."))
        there = all((study.root / f"{stem}.{kind}").is_file() for kind in ("png", "pdf"))
        figures.append({"stem": stem, "title": title, "caption": caption, "alt": alt, "there": there})
    return figures


def _theory(study: Study) -> dict[str, Any] | None:
    """Counts, the statements that fail, and the whole table."""
    path = study.root / "theory" / "theory.csv"
    if not path.exists():
        return None
    columns = ["statement", "quantity", "expected", "measured", "error", "verdict"]
    try:
        frame = pd.read_csv(path)[columns].astype({"statement": str, "quantity": str, "verdict": str})
        cells = frame.assign(**{key: frame[key].map(_short) for key in ("expected", "measured", "error")})
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{path}: not a theory table; write it again") from error
    counts = {verdict: int((frame["verdict"] == verdict).sum()) for verdict in THEORY_VERDICTS}
    fails = list(dict.fromkeys(frame.loc[frame["verdict"] == "fails", "statement"]))
    table = make_table("", columns, cells.to_numpy().tolist())
    return {"total": len(frame), "counts": counts, "fails": fails, "table": table}


def _short(value: float) -> str:
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")


def _page(study: Study, stem: str) -> dict[str, Any] | None:
    """A Markdown page of results as blocks, with the figures beside it that it does not show itself."""
    path = study.root / f"{stem}.md"
    blocks = read_blocks(path)
    if blocks is None:
        return None
    folder, shown = str(Path(stem).parent), set()
    for block in blocks:
        if block["kind"] == "image":
            shown.add(Path(block["file"]).stem)
            block["stem"] = str((Path(folder) / block["file"]).with_suffix(""))
            block["there"] = all((study.root / f"{block['stem']}.{kind}").is_file() for kind in ("png", "pdf"))
    figures = _figures(study, folder) if folder != "." else []
    return {"blocks": blocks, "figures": [figure for figure in figures if Path(figure["stem"]).name not in shown]}
