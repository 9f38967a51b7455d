"""What the command line offers: every command with its arguments."""

import argparse
from pathlib import Path

# Stages that need the study alone: module, function, help.
STAGES = {
    "data": ("hdpo.tasks.survey", "write_data_survey", "repeats, over-long prompts and lengths of a math data set"),
    "summary": ("hdpo.claims.summary", "write_summary", "means, differences and intervals of all finished runs"),
    "statistics": ("hdpo.report.statistics", "write_statistics", "robust means, power, corrections, optimism of best"),
    "gains": ("hdpo.report.gains", "write_gains", "where gains come from: by size, and by what the base model solves"),
    "temperatures": ("hdpo.report.temperatures", "write_temperatures", "each run beside GRPO at the run's own entropy"),
    "tune": ("hdpo.report.tuning", "write_tuning", "each method's main parameter by one rule, on validation problems"),
    "tables": ("hdpo.report.tables", "write_tables", "tables as CSV, Markdown and LaTeX"),
    "figures": ("hdpo.report.figures", "write_figures", "figures as PNG and PDF"),
    "theory": ("hdpo.theory.checks", "write_study_theory", "check the paper's statements numerically"),
    "audit": ("hdpo.audit.audit", "write_study_audit", "what the paper's reported numbers support by themselves"),
    "report": ("hdpo.report.pdf", "write_pdf", "the reproduction report as PDF"),
    "page": ("hdpo.report.web_page", "write_page", "one self-contained HTML summary"),
    "status": ("hdpo.run.status", "print_status", "which runs are done, running, failed or left, and the time left"),
    "cost": ("hdpo.report.job_costs", "write_cost", "where the time of a finished study went"),
    "publish": ("hdpo.report.publish", "publish", "make the finished study the committed reference"),
}
# Commands that take one study or more: module, function, help.
SEVERAL = {
    "finding": (
        "hdpo.report.finding",
        "write_finding",
        "verdicts and effects of several studies side by side, the lead figure, and a page to try it",
    ),
    "compare": (
        "hdpo.report.comparison",
        "write_comparison",
        "methods side by side: gains on GRPO, costs and ranks, over several studies",
    ),
    "controls": (
        "hdpo.report.controls",
        "write_controls",
        "the planned controls and ablations: what matters and what does not, over several studies",
    ),
    "sizes": (
        "hdpo.report.sizes",
        "write_sizes",
        "HDPO at λ = 1 against GRPO by the size of the model, over several studies",
    ),
    "map": (
        "hdpo.report.cliff_map",
        "write_map",
        "what HDPO adds by depth of the cliffs, λ and steps, over several studies",
    ),
}
PUBLISHED = "read results/reference/<study>/ instead of the study's own runs"


def natural(text: str) -> int:
    """A whole number, not negative."""
    if not text.isascii() or not text.isdigit() or int(text[:20]) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2^63 − 1, got {text[:40]!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number, at least 1."""
    if natural(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return int(text)


def assumption(text: str) -> tuple[str, float]:
    """`name=value`."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected name=value, as in response=600, got {text!r}") from error


def column(text: str) -> tuple[str, str]:
    """`problem=question`."""
    key, _, name = text.partition("=")
    if key not in ("problem", "answer", "solution", "id") or not name:
        raise argparse.ArgumentTypeError(f"expected problem, answer, solution or id = a column's name, got {text!r}")
    return key, name


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hdpo", description="The `hdpo` command, stage by stage.")
    commands = parser.add_subparsers(dest="command", required=True)

    init = commands.add_parser("init", help="write a study file for a model and problems of your own")
    init.add_argument("name", help="of the study and its file")
    init.add_argument("--problems", required=True, help="Parquet, JSON lines or CSV, with problems and answers")
    init.add_argument("--model", required=True, help="a folder with a chat model, or its name on the hub")
    init.add_argument("--columns", metavar="KEY=COLUMN", nargs="+", type=column, default=[], help="if not guessed")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.add_argument("study", type=Path, help="study file, as config/small.yaml")
        return added

    base = command("base", "train the small world's base model")
    base.add_argument("--out", type=Path, help="folder for the model (default: where the study expects it)")
    base.add_argument("--seed", type=natural, help="of weights and data (default: the study's)")
    base.add_argument("--threads", type=count, default=1, help="CPU threads (default: 1)")
    for name, help in (("train", "train one run, or go on with it"), ("evaluate", "test one run's final weights")):
        added = command(name, help)
        added.add_argument("--run", required=True, help="a run's name, such as hdpo-drifting-0.1; evaluate: base too")
        added.add_argument("--seed", type=natural, required=True)
    for name, (_, _, help) in STAGES.items():
        command(name, help).add_argument("--published", action="store_true", help=PUBLISHED)
    repeat = command("repeat", "train the first steps of a published run again and compare; all comparisons in a table")
    repeat.add_argument("--run", help="a published run (default: none, only the table)")
    repeat.add_argument("--seed", type=natural)
    cliffs = command("cliffs", "before training: which cliffs the model has, and whether the hint opens them")
    cliffs.add_argument("--problems", type=count, default=128, help="training problems to try (default: 128)")
    cliffs.add_argument("--tries", type=count, default=64, help="plain tries of each (default: 64)")
    prompts = command("prompts", "what student and teacher are shown for one problem")
    prompts.add_argument("--problem", type=natural, default=0, help="number of the training problem (default: 0)")
    shown = command("show", "what student and teacher said in training: samples of one run")
    shown.add_argument("--run", required=True, help="a run's name, such as hdpo-drifting-0.1")
    shown.add_argument("--seed", type=natural, required=True)
    shown.add_argument("--step", type=natural, help="of a sample (default: the newest; with --html or --problem: all)")
    shown.add_argument("--problem", help="its id, as `hdpo show` prints it (default: all of the sample)")
    shown.add_argument("--html", type=Path, metavar="FILE", help="write one self-contained page instead")
    plan = command("plan", "tokens, FLOPs, memory, disk and hours, before anything is started")
    plan.add_argument("--hardware", help="a device of hdpo/plan/hardware.py (default: the first that is large enough)")
    plan.add_argument("--assume", metavar="NAME=VALUE", nargs="+", type=assumption, default=[])
    check = command("check", "reported numbers against measured ones, claim by claim")
    check.add_argument("--published", action="store_true", help=PUBLISHED)
    check.add_argument("--strict", action="store_true", help="exit 1 if a claim of the paper fails or is not run")
    for name, (_, _, help) in SEVERAL.items():
        added = command(name, help)
        added.add_argument("others", nargs="*", type=Path, metavar="study", help="further study files")
        added.add_argument("--published", action="store_true", help=PUBLISHED)
    power = command("power", "power of a planned study, from a published study of development seeds")
    power.add_argument("--seeds", type=count, required=True, help="of the planned study")
    power.add_argument("--problems", type=count, required=True, help="test problems of the planned study")
    return parser
