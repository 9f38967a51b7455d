"""The plan as text: every figure with its assumptions."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from statistics import fmean

from hdpo.plan.cost import compare, disk_bytes, run_seconds, sampling_flops, study_seconds, training_flops
from hdpo.plan.hardware import DEVICES, LEVELS, device, use
from hdpo.plan.memory import Memory, require_memory, study_memory
from hdpo.plan.shape import study_shape
from hdpo.plan.workload import MEANING, assumptions, extremes, workload
from hdpo.study.study import Study


def print_plan(study: Study, hardware: str | None = None, changes: dict[str, float] | None = None) -> None:
    """Print the plan on the named hardware, or on the first that is large enough.

    Raises:
        UserError: hardware or assumption unknown, model unknown, or too little memory (after the plan).
    """
    chosen = hardware or _first_that_fits(study, changes)
    device(chosen)
    found = study_memory(study, chosen, changes)
    print("\n\n".join(_sections(study, chosen, found, changes)))
    require_memory(found, study)


def _first_that_fits(study: Study, changes: dict[str, float] | None) -> str:
    if not study.hardware.gpus:
        return "cpu"
    gpus = [name for name in DEVICES if name != "cpu"]
    return next((name for name in gpus if study_memory(study, name, changes).fits), gpus[-1])


def _sections(study: Study, hardware: str, found: Memory, changes: dict[str, float] | None) -> list[str]:
    shape, jobs = study_shape(study), len(study.runs) * len(study.seeds)
    count = study.hardware.threads if hardware == "cpu" else max(1, study.hardware.gpus)
    head = (
        f"Plan of study {study.name}: {jobs} training jobs ({', '.join(study.runs)}; {len(study.seeds)} seeds),"
        f" each on {count} × {DEVICES[hardware].label}\n"
        f"Model {study.base_path}: {si(shape.parameters)} parameters, {shape.layers} layers of {shape.hidden},"
        f" vocabulary {shape.vocabulary}; {study.model.dtype}, sampled by {study.train.backend}\n"
        "Levels: at low, all assumptions are at their cheap end together; at high, at their expensive end."
    )
    disk = disk_bytes(study)
    disk["sum"] = sum(disk.values())
    sections = [
        *(head, _assumptions(study, hardware, changes), _work(study, changes), _memory(study, hardware, found)),
        *(_seconds(study, hardware, changes), _table("Disk, GB", ["", *disk], ["", *map(gigabytes, disk.values())])),
        *(_total(study, hardware, changes), _measured(study, hardware, changes), _advice(study, changes)),
    ]
    return [section for section in sections if section]


def _assumptions(study: Study, hardware: str, changes: dict[str, float] | None) -> str:
    names = ["peak FLOP/s used in training", "peak FLOP/s used in sampling", "peak bandwidth used in sampling"]
    columns = [["", *MEANING.values(), *names, "overhead of a decoding pass, ms"]]
    for level in LEVELS:
        assumed, used = asdict(assumptions(study, level, changes)), use(hardware, study.train.backend, level)
        shares = [f"{100 * share:.0f} %" for share in (used.training, used.decoding, used.bandwidth)]
        columns.append([level, *(f"{assumed[name]:.3g}" for name in MEANING), *shares, f"{1000 * used.per_pass:.1f}"])
    peak = DEVICES[hardware]
    note = f"Peak: {peak.flops / 1e12:g} TFLOP/s, {peak.bandwidth / 1e9:g} GB/s."
    return _table("Assumptions (--assume name=value replaces one at every level)", *columns) + "\n" + note


def _work(study: Study, changes: dict[str, float] | None) -> str:
    shape, assumed, columns = study_shape(study), assumptions(study, "likely", changes), []
    for method in extremes(study):
        work = workload(study, assumed, method)
        tokens, trained = work.tokens(), training_flops(work, shape, study.train.gradient_checkpointing)
        flops = {
            "rollout": work.steps * sampling_flops(work.rollout, shape),
            "privileged": work.steps * sampling_flops(work.privileged, shape),
            "trained": work.steps * trained["update"],
            "distill": work.steps * trained["distill"],
            "evaluation": work.evaluations * sum(sampling_flops(draw, shape) for draw in work.evaluation),
            "test": sum(sampling_flops(draw, shape) for draw in work.test),
        }
        columns.append([f"{method.run_name} tokens", *map(si, tokens.values())])
        columns.append(["FLOPs", *(si(flops[kind]) for kind in tokens)])
    return _table("Response tokens and FLOPs of one run, likely", ["", *tokens], *columns)


def _memory(study: Study, hardware: str, found: Memory) -> str:
    names, columns = list(found.rollout | found.update), []
    for title, phase in (("rollout", found.rollout), ("update", found.update)):
        sizes = [*map(phase.get, names), sum(phase.values()), found.available]
        columns.append([title, *map(gigabytes, sizes)])
    table = _table("Memory per device, GB, dearest run, high", ["", *names, "sum", "usable"], *columns)
    if study.train.backend != "vllm" or hardware == "cpu":
        return table
    share, total = study.hardware.rollout_memory, DEVICES[hardware].memory
    note = f"vLLM takes hardware.rollout_memory, {share:g} × {gigabytes(total)}, while it samples, then sleeps."
    return f"{table}\n{note}"


def _seconds(study: Study, hardware: str, changes: dict[str, float] | None) -> str:
    columns = []
    for method, level in product(extremes(study), LEVELS):
        seconds = run_seconds(study, hardware, level, method, changes)
        test = seconds.pop("test")
        seconds |= {"training job": sum(seconds.values()), "test job": test}
        columns.append([f"{method.run_name} {level}", *map(duration, seconds.values())])
    return _table("Time of one job", ["", *seconds], *columns)


def _total(study: Study, hardware: str, changes: dict[str, float] | None) -> str:
    """The whole study here and, for GPUs, on every other device of the table."""
    names = ["cpu"] if hardware == "cpu" else [name for name in DEVICES if name != "cpu"]
    enough = ["enough" if study_memory(study, name, changes).fits else "too little" for name in names]
    columns, jobs = [["", *names], ["memory", *enough]], max(1, study.hardware.gpus)
    for level in LEVELS:
        hours = [study_seconds(study, name, level, changes) * jobs / 3600 for name in names]
        columns.append([level, *(f"{value:.3g}" for value in hours)])
    unit = "process-hours" if hardware == "cpu" else "GPU-hours"
    return _table(f"Whole study, {unit}, all jobs one after the other", *columns)


def _measured(study: Study, hardware: str, changes: dict[str, float] | None) -> str:
    """Means over the finished runs of the study as it is now, beside the plan; empty where there are none."""
    found: dict[tuple[str, str], list[dict]] = {}
    for row in compare(study, study.root / "runs", hardware, changes):
        if row["is_current"]:
            found.setdefault(("GRPO" if row["run"] == "grpo" else "HDPO", row["quantity"]), []).append(row)
    rows = [["", "", "runs", "planned", "mean", "ratio"]]
    for key, group in found.items():
        measured, planned = fmean(row["measured"] for row in group), group[0]["planned"]
        rows.append([*key, str(len(group)), si(planned), si(measured), f"{measured / planned:.2f}"])
    return _table("Finished runs", *zip(*rows, strict=True)) if found else ""


def _advice(study: Study, changes: dict[str, float] | None) -> str:
    tokens = workload(study, assumptions(study, "likely", changes), extremes(study)[0]).tokens()
    ratio = tokens["evaluation"] / tokens["rollout"]
    if ratio < 1:
        return ""
    return (
        f"Evaluations during training sample {ratio:.1f} times as many tokens as the rollouts; a larger"
        f" evaluate.every (now {study.evaluate.every}) or fewer validation problems saves most."
    )


def _table(title: str, *columns: Sequence[str]) -> str:
    """Columns, heads first, as wide as their widest cell; names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        first, *others = map(str.rjust, cells, widths)
        return "  ".join([first.strip().ljust(widths[0]), *others]).rstrip()

    head, *rows = zip(*columns, strict=True)
    return "\n".join([title, line(head), line(["-" * width for width in widths]), *map(line, rows)])


def si(value: float) -> str:
    """Three digits and a prefix: 5.12e8 as `512 M`."""
    for size, mark in ((1e18, " E"), (1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{mark}"
    return f"{value:.3g}"


def gigabytes(value: float | None) -> str:
    return "—" if value is None else f"{value / 1e9:.2f}"


def duration(seconds: float) -> str:
    """In the unit a reader thinks in: `12 s`, `3.4 min`, `5.6 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
