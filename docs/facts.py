"""Facts that pages name as `{{ fact }}`: each comes from the published results, the paper's data or the code."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.numpy import load_file

from hdpo.claims.check import count_verdicts, counts_line
from hdpo.claims.claims import load_claims
from hdpo.claims.reported import COLUMNS, reported_hyperparameters, reported_scores
from hdpo.cli.parser import build_parser
from hdpo.methods.hdpo import HDPO
from hdpo.render.formats import sentence_case
from hdpo.render.runs import run_label
from hdpo.render.table import markdown_text
from hdpo.report.job_costs import makespan
from hdpo.stats.power import minimal_effect
from hdpo.study.study import BASE_RUN, load_study

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results/reference"
CORES = (1, 2, 16, 64)
SCALES = ("smoke", "small", "small-true", "tenfold", "gpu1", "paper")
Verdicts = dict[str, dict[str, dict[str, Any]]]  # rows of check.json by regime and claim


def facts(names: dict[str, str], verdicts: Verdicts) -> dict[str, str]:
    """All facts by name, as Markdown; `names` are the planned studies by regime."""
    table2 = reported_hyperparameters().set_index("key")["value"]
    grpo = reported_scores().query("table == 1 and run == 'grpo'").iloc[0]
    return {
        "state": state(list(names.values())),
        "counts": counts(verdicts),
        "predictions": predictions(verdicts),
        "departures": departures(list(names.values())),
        "power": power(names),
        "commands": commands(),
        "targets": targets(),
        "scales": scales(),
        "times": times(list(names.values())),
        "notebooks": notebooks(),
        "parameters": f"{parameters(REFERENCE / 'small/base/model.safetensors'):,}",
        "torch": re.search(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1],
        "paper_steps": f"{int(table2['train.steps']):,}",
        "paper_grpo": ", ".join(f"{100 * grpo[column]:.0f} % {metric}" for metric, column in COLUMNS.items()),
        "privileged_rollouts": str(HDPO.model_fields["privileged_rollouts"].default),
    }


def read_json(study: str, file: str) -> Any:
    return json.loads((REFERENCE / study / file).read_text(encoding="utf-8"))


def state(names: list[str]) -> str:
    """How much of the reference study is published."""
    runs = sum(read_json(name, "published.json")["runs"] for name in names)
    studies = [load_study(ROOT / f"config/{name}.yaml") for name in names]
    planned = sum(len(study.runs) * len(study.seeds) for study in studies)
    if runs == planned:
        return f"All {planned} runs of the reference study are published."
    return f"So far {runs} of the {planned} runs of the reference study are published. Take no verdict from them yet."


def counts(verdicts: Verdicts) -> str:
    """How many claims of each kind have which verdict: a list by regime."""
    lines = []
    for regime, rows in verdicts.items():
        claims = [claim for claim in load_claims() if claim.id in rows]
        found = count_verdicts(claims, [rows[claim.id]["verdict"] for claim in claims])
        lines.append(f"- On **{regime}**. " + " ".join(counts_line(*item) for item in found.items()))
    return "\n".join(lines)


def departures(names: list[str]) -> str:
    """What departs from the plan, as the published checks list it."""
    found = dict.fromkeys(line for name in names for line in read_json(name, "check.json")["departures"])
    return "\n".join(["", "", *(f"- {line}" for line in found)]) if found else "nothing so far."


def predictions(verdicts: Verdicts) -> str:
    """What the plan predicted from development seeds, and what came: those that failed first."""
    rows = {key: row for by_id in verdicts.values() for key, row in by_id.items() if re.fullmatch(r"p\d+\w?", key)}
    failed_first = sorted(rows, key=lambda key: (rows[key]["verdict"] == "reproduced", key))
    lines = []
    for key in failed_first:
        claim, row = sentence_case(markdown_text(rows[key]["claim"])), rows[key]
        lines.append(f"- {claim} ({key}): **{row['verdict']}**, {row['measured']}")
    return "\n".join(lines)


def power(names: dict[str, str]) -> str:
    """The difference to GRPO that each arm's test finds with power .9, from the standard errors that came."""
    rows = []
    for regime, name in names.items():
        found = pd.read_csv(REFERENCE / name / "summary.csv").query("protocol == 'test' and diff_se > 0")
        found = found[found["run"] != BASE_RUN]
        errors = zip(found["diff_se"], found["diff_df"], strict=True)
        found = found.assign(least=[100 * minimal_effect(se, df, 0.9) for se, df in errors])
        wide = found.pivot_table(index="run", columns="metric", values="least", sort=False)[["greedy", "pass@8"]]
        wide = wide.map("{:.1f}".format)
        rows += [(regime, run_label(run), *cells) for run, cells in zip(wide.index, wide.to_numpy(), strict=True)]
    return markdown(["regime", "method", "greedy accuracy", "pass@8"], rows)


def commands() -> str:
    """Every command of the command line with its help."""
    (group,) = (action for action in build_parser()._actions if action.choices)
    return markdown(
        ["command", "what it does"], [(f"`hdpo {it.dest}`", markdown_text(it.help)) for it in group._choices_actions]
    )


def targets() -> str:
    """The targets that the head of the Makefile explains."""
    head = (ROOT / "Makefile").read_text(encoding="utf-8").split("\n\n")[0].partition("\nPYTHON")[0]
    lines = re.sub(r"\n#\s{8,}", " ", head)  # an explanation of several lines
    return markdown(
        ["command", "what it does"],
        [(f"`{name}`", markdown_text(text)) for name, text in re.findall(r"^# (make \S+) +(.+)$", lines, re.M)],
    )


def scales() -> str:
    rows = []
    for name in SCALES:
        study = load_study(ROOT / f"config/{name}.yaml")
        local = study.base_is_local and study.pretrain is not None
        model = f"from scratch, width {study.pretrain.hidden_size}" if local else f"`{study.model.path}`"
        runs = f"{len(study.runs)} × {len(study.seeds)}"
        machine = f"{study.hardware.gpus} GPU{'s' * (study.hardware.gpus > 1)}" if study.hardware.gpus else "a CPU core"
        rows.append((f"`config/{name}.yaml`", study.task.name, model, runs, f"{study.train.steps:,}", machine))
    return markdown(["file", "task", "model", "methods × seeds", "steps", "a run needs"], rows)


def times(names: list[str]) -> str:
    """How long the published runs take on several numbers of cores, from the seconds of their own jobs."""
    chains: list[float] = []
    for name in names:
        records = pd.read_parquet(REFERENCE / name / "records.parquet", columns=["kind", "run", "record"])
        found = [json.loads(record) for record in records["record"]]
        records["seconds"] = [record["seconds"] for record in found]
        whole = [not record.get("resumed_after_step") for record in found]
        shortest = records[whole].groupby(["run", "kind"])["seconds"].min().unstack().dropna().sum(axis=1)
        chains += shortest.to_list() * len(load_study(ROOT / f"config/{name}.yaml").seeds)
    hours = [makespan(chains, cores) / 3600 for cores in CORES]
    rows = [(str(cores), f"{spent:.1f}", f"{hours[0] / spent:.0f}") for cores, spent in zip(CORES, hours, strict=True)]
    line = f"{len(chains)} runs, each trained and tested on one core; the longest takes {max(chains) / 60:.1f} minutes."
    return f"{line}\n\n{markdown(['cores', 'hours', 'times as fast as one core'], rows)}"


def notebooks() -> str:
    """A link to each notebook by its first heading."""
    lines = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title = next(line for cell in cells for line in "".join(cell["source"]).splitlines() if line.startswith("# "))
        lines.append(f"- [{title[2:].strip()}](../notebooks/{path.name})")
    return "\n".join(lines)


def parameters(path: Path) -> int:
    return sum(weight.size for weight in load_file(path).values())


def markdown(columns: list[str], rows: list[tuple[str, ...]]) -> str:
    return pd.DataFrame(rows, columns=columns).to_markdown(index=False, disable_numparse=True)
