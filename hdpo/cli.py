"""The `hdpo` command: every stage of the workflow, one subcommand each."""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from hdpo.config import load_study
from hdpo.errors import UserError

# Stages that need the study alone: module, function, help.
STAGES = {
    "summary": ("hdpo.report.results", "write_summary", "means, differences and intervals of all finished runs"),
    "statistics": ("hdpo.report.statistics", "write_statistics", "robust means, power, corrections, optimism of best"),
    "tables": ("hdpo.report.tables", "write_tables", "tables as CSV, Markdown and LaTeX"),
    "figures": ("hdpo.report.figures", "write_figures", "figures as PNG and PDF"),
    "theory": ("hdpo.theory.checks", "write_study_theory", "check the paper's statements numerically"),
    "audit": ("hdpo.audit.audit", "write_study_audit", "what the paper's reported numbers support by themselves"),
    "report": ("hdpo.report.pdf", "write_pdf", "the reproduction report as PDF"),
    "page": ("hdpo.report.page", "write_page", "one self-contained HTML summary"),
    "bench": ("hdpo.report.cost", "write_bench", "where the time of a finished study went"),
    "publish": ("hdpo.report.publish", "publish", "make the finished study the committed reference"),
}


def natural(text: str) -> int:
    """A whole number, not negative."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number, not negative, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number, at least 1."""
    if natural(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, got {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hdpo", description=__doc__.split(":", 1)[0] + ", stage by stage.")
    commands = parser.add_subparsers(dest="command", required=True)

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
        added.add_argument("--run", required=True, help="grpo, or hdpo-<drifting|frozen>-<λ>; evaluate: base too")
        added.add_argument("--seed", type=natural, required=True)
    for name, (_, _, help) in STAGES.items():
        command(name, help)
    check = command("check", "reported numbers against measured ones, claim by claim")
    check.add_argument("--strict", action="store_true", help="exit 1 if a claim is contradicted or not run")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand. Exit codes: 0 done, 1 failed gate, 2 bad input (one line), 130 interrupted."""
    options = build_parser().parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        return _dispatch(options) or 0
    except UserError as error:
        print(f"hdpo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hdpo: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _dispatch(options: argparse.Namespace) -> int | None:
    """Stages import what they need, so that `hdpo --help` stays quick."""
    study = load_study(options.study)
    if options.command == "base":
        from hdpo.base_model import train_base

        if options.seed is not None and study.pretrain is not None:
            study = study.model_copy(update={"pretrain": study.pretrain.model_copy(update={"seed": options.seed})})
        train_base(study, options.out or study.built_base, options.threads)
    elif options.command == "train":
        from hdpo.train import train_run

        train_run(study.run(options.run, options.seed))
    elif options.command == "evaluate":
        from hdpo.evaluate import evaluate_test

        evaluate_test(study, options.run, options.seed)
    elif options.command == "check":
        from hdpo.report.check import write_check

        return write_check(study, strict=options.strict)
    else:
        module, function, _ = STAGES[options.command]
        getattr(import_module(module), function)(study)
    return None


if __name__ == "__main__":
    sys.exit(main())
