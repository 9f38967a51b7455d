"""The `hdpo` command: every stage of the workflow, one subcommand each."""

import argparse
import contextlib
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from hdpo.cli.parser import SEVERAL, STAGES, build_parser
from hdpo.system.allocator import keep_freed_memory
from hdpo.system.devices import claim_gpus
from hdpo.system.errors import UserError
from hdpo.system.files import disk_error
from hdpo.system.interrupt import Interrupted
from hdpo.system.launch import end_with_parent, is_rank, launch, may_speak

if TYPE_CHECKING:
    from hdpo.study.study import Study

# Modules that a core install lacks, and the extra that brings them.
EXTRAS = {
    **dict.fromkeys(["math_verify"], "math"),
    **dict.fromkeys(["pandas", "scipy", "matplotlib", "seaborn", "jinja2", "PIL", "typst", "tabulate"], "report"),
    "vllm": "vllm",
}


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
    elif options.command == "cliffs":
        from hdpo.report.place import print_cliffs

        print_cliffs(study, options.problems, options.tries)
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
    elif options.command in SEVERAL:
        others = [load_study(path).model_copy(update={"published": options.published}) for path in options.others]
        module, function, _ = SEVERAL[options.command]
        getattr(import_module(module), function)([study, *others])
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
