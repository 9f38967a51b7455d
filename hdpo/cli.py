"""The `hdpo` command: every stage of the workflow, one subcommand each."""

import argparse
import contextlib
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hdpo.system.allocator import keep_freed_memory
from hdpo.system.devices import claim_gpus
from hdpo.system.errors import UserError
from hdpo.system.files import disk_error
from hdpo.system.interrupt import Interrupted
from hdpo.system.launch import end_with_parent, is_rank, launch, may_speak

if TYPE_CHECKING:
    from hdpo.study.study import Study

# Stages that need the study alone: module, function, help.
STAGES = {
    "data": ("hdpo.tasks.survey", "write_data_survey", "repeats, over-long prompts and lengths of a math data set"),
    "summary": ("hdpo.claims.results", "write_summary", "means, differences and intervals of all finished runs"),
    "statistics": ("hdpo.report.statistics", "write_statistics", "robust means, power, corrections, optimism of best"),
    "gains": ("hdpo.report.gains", "write_gains", "where gains come from: by size, and by what the base model solves"),
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
PUBLISHED = "read results/reference/<study>/ instead of the study's own runs"
# Modules that a core install lacks, and the extra that brings them.
EXTRAS = {
    **dict.fromkeys(["math_verify"], "math"),
    **dict.fromkeys(["pandas", "scipy", "matplotlib", "seaborn", "jinja2", "PIL", "typst", "tabulate"], "report"),
    "vllm": "vllm",
}


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
    parser = argparse.ArgumentParser(prog="hdpo", description=__doc__.split(":", 1)[0] + ", stage by stage.")
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
    finding = command("finding", "verdicts and effects of several studies side by side, and the lead figure")
    finding.add_argument("others", nargs="*", type=Path, metavar="study", help="further study files")
    finding.add_argument("--published", action="store_true", help=PUBLISHED)
    power = command("power", "power of a planned study, from a published study of development seeds")
    power.add_argument("--seeds", type=count, required=True, help="of the planned study")
    power.add_argument("--problems", type=count, required=True, help="test problems of the planned study")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand.

    Exit codes: 0 done, 1 failed gate, 2 bad input or no room to write (one line), 130 and 143 stopped by Ctrl-C or
    SIGTERM (one line).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = _dispatch(options, arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `hdpo plan … | head`: the reader has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (what Python flushes when it ends)
        return 128 + signal.SIGPIPE
    except UserError as error:
        return _fail(str(error), 2)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        return _fail(f'needs the extra "{extra}"; pip install "hdpo[{extra}]"', 2, who=f"hdpo {options.command}")
    except OSError as error:
        line = disk_error(error)
        if line is None:
            raise
        return _fail(line, 2)
    except KeyboardInterrupt as error:
        line = str(error) or "interrupted"
        return _fail(f"{line}; the same command goes on from there", 128 + getattr(error, "number", signal.SIGINT))
    except RuntimeError:
        if may_speak(is_echo=True):
            raise
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, _frame) -> None:
    raise Interrupted(number, "terminated")


def _fail(line: str, code: int, who: str = "hdpo") -> int:
    if may_speak(is_echo=False):
        with contextlib.suppress(OSError):  # the log may lie on the disk that is full
            print(f"{who}: {line}", file=sys.stderr, flush=True)
    return code


def _join_ranks(study: "Study") -> None:
    from hdpo.system import ranks

    end_with_parent()
    count, prompts = int(os.environ["WORLD_SIZE"]), study.train.prompts_per_step  # torchrun chooses its own count
    if prompts % count:
        raise UserError(f"train.prompts_per_step is {prompts}, which {count} processes do not divide")
    ranks.start(study.hardware.threads_per_rank, on_gpu=study.hardware.gpus > 0)


def _dispatch(options: argparse.Namespace, arguments: list[str]) -> int | None:
    """Stages import what they need, and the study is imported here, so that `hdpo --help` stays quick."""
    from hdpo.study.study import BASE_RUN, load_study

    if options.command == "init":
        from hdpo.plan.first_study import write_first_study

        write_first_study(options.name, options.problems, options.model, dict(options.columns))
        return None
    study = load_study(options.study).model_copy(update={"published": getattr(options, "published", False)})
    if options.command in ("plan", "train") and not is_rank():
        from hdpo.tasks.checks import check_task

        check_task(study)
    if options.command == "evaluate" and options.run == BASE_RUN and options.seed:
        raise UserError(f"run {BASE_RUN!r}, seed {options.seed}: the base model has one seed, 0")
    runs_model = options.command in ("train", "evaluate")
    computes = runs_model or options.command == "base"
    claim_gpus(study.hardware.gpus if computes else 0)
    if computes:
        keep_freed_memory()
    if runs_model and study.hardware.ranks > 1 and not is_rank():
        return launch(study.hardware.ranks, arguments)
    if runs_model and is_rank():
        _join_ranks(study)
    if options.command == "base":
        from hdpo.run.base_model import train_base

        if options.seed is not None and study.pretrain is not None:
            study = study.model_copy(update={"pretrain": study.pretrain.model_copy(update={"seed": options.seed})})
        train_base(study, options.out or study.built_base, options.threads)
    elif options.command == "train":
        from hdpo.run.train import train_run

        train_run(study.run(options.run, options.seed))
    elif options.command == "evaluate":
        from hdpo.run.evaluate import evaluate_test

        evaluate_test(study, options.run, options.seed)
    elif options.command == "prompts":
        from hdpo.tasks.survey import print_prompts

        print_prompts(study, options.problem)
    elif options.command == "show":
        from hdpo.report.show import show

        show(study, options.run, options.seed, options.step, options.problem, options.html)
    elif options.command == "plan":
        from hdpo.plan.page import print_plan

        print_plan(study, options.hardware, dict(options.assume))
    elif options.command == "repeat":
        from hdpo.claims.repeat import repeat_run, write_repeat

        if (options.run is None) != (options.seed is None):
            raise UserError("repeat: give --run and --seed, or neither for the table")
        if options.run is None:
            write_repeat(study)
        else:
            repeat_run(study, options.run, options.seed)
    elif options.command == "finding":
        from hdpo.report.finding import write_finding

        others = [load_study(path).model_copy(update={"published": options.published}) for path in options.others]
        write_finding([study, *others])
    elif options.command == "power":
        from hdpo.claims.power import print_power

        print_power(study, options.seeds, options.problems)
    elif options.command == "check":
        from hdpo.claims.check import write_check

        return write_check(study, strict=options.strict)
    else:
        module, function, _ = STAGES[options.command]
        getattr(import_module(module), function)(study)
    return None


if __name__ == "__main__":
    sys.exit(main())
