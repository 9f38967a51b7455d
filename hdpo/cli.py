"""The `hdpo` command: every stage of the workflow, one subcommand each."""

import argparse
import os
import sys
from pathlib import Path

from hdpo.config import load_study
from hdpo.errors import UserError


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
    command("summary", "statistics of all finished runs")
    command("tables", "tables as CSV, Markdown and LaTeX")
    command("figures", "figures as PNG and PDF")
    command("theory", "check the paper's statements numerically, exactly where possible")
    command("audit", "what the paper's reported numbers support by themselves")
    command("statistics", "further statistics of the finished runs: robust means, power, corrections")
    command("report", "the reproduction report as PDF")
    command("page", "one self-contained HTML summary")
    command("bench", "where the time of a finished study went")
    command("publish", "make the finished study the committed reference that later runs are checked against")
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

        if options.seed is not None:
            study = study.model_copy(update={"pretrain": study.pretrain.model_copy(update={"seed": options.seed})})
        train_base(study, options.out or study.built_base, options.threads)
    elif options.command == "train":
        from hdpo.train import train_run

        train_run(study.run(options.run, options.seed))
    elif options.command == "evaluate":
        from hdpo.evaluate import evaluate_test

        evaluate_test(study, options.run, options.seed)
    elif options.command == "summary":
        from hdpo.report.results import write_summary

        write_summary(study)
    elif options.command == "tables":
        from hdpo.report.tables import write_tables

        write_tables(study)
    elif options.command == "figures":
        from hdpo.report.figures import write_figures

        write_figures(study)
    elif options.command == "theory":
        from hdpo.theory.checks import write_study_theory

        write_study_theory(study)
    elif options.command == "audit":
        from hdpo.audit.audit import write_audit

        write_audit(study.root / "audit")
    elif options.command == "statistics":
        from hdpo.report.statistics import write_statistics

        write_statistics(study)
    elif options.command == "report":
        from hdpo.report.pdf import write_pdf

        write_pdf(study)
    elif options.command == "page":
        from hdpo.report.page import write_page

        write_page(study)
    elif options.command == "bench":
        from hdpo.report.cost import write_bench

        write_bench(study)
    elif options.command == "publish":
        from hdpo.report.publish import publish

        publish(study)
    elif options.command == "check":
        from hdpo.report.check import write_check

        return write_check(study, strict=options.strict)
    return None


if __name__ == "__main__":
    sys.exit(main())
