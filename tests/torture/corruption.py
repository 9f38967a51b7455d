"""Every file that is read again, damaged region by region: refused by name, or mended from the checkpoint before.

A region is overwritten with its bits flipped, or the file is cut there. What may follow: the same bytes as without
the damage, or one line and exit code 2. A wrong result, or a traceback, is a loss.
"""

import contextlib
import io
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import yaml

from hdpo.claims.reader import Reader
from hdpo.cli import main
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from torture.victims import fingerprint, output, row, the_run, train, wait, workplace

LOGS = ("metrics.jsonl", "evals.parquet", "samples.parquet")
EVALUATE = ["evaluate", "study.yaml", "--run", "hdpo-frozen-0.1", "--seed", "1"]


def run(quick: bool) -> list[dict]:
    with workplace():
        run = the_run()
        assert wait(train()) == 0, output()
        assert main(["evaluate", "study.yaml", "--run", "base", "--seed", "0"]) == 0
        assert main(EVALUATE) == 0
        expected = fingerprint(run)
        parts = 1 if quick else 12
        return [
            checkpoints(run, expected, parts),
            no_checkpoint(run),
            results(run, parts),
            base(parts),
            configs(40 if quick else 600),
        ]


def regions(path: Path, parts: int) -> Iterator[tuple[str, bytes]]:
    """Damaged versions of a file: each of `parts` regions flipped, cut there, single bits, emptied, missing."""
    data, rng = path.read_bytes(), random.Random(len(path.name))
    edges = sorted({len(data) * part // parts for part in range(parts)})
    for start in edges:
        end = min(start + 16, len(data))
        yield f"flipped at {start}", data[:start] + bytes(byte ^ 255 for byte in data[start:end]) + data[end:]
        yield f"cut at {start}", data[:start]
    for _ in range(parts):
        place, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        yield f"bit flipped at {place}", data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
    yield "lengthened", data + b"\0"


def checkpoints(run, expected: dict[str, str], parts: int) -> dict:
    """Damage to the newest checkpoint: named, and the one before it ends in the same bytes."""
    saved, tries, bad = Path("saved"), 0, []
    shutil.copytree(run.state_folder, saved)
    newest = sorted(saved.glob("step-*"))[-1]
    for file in sorted(newest.iterdir()):
        for how, data in regions(file, parts):
            _restore(saved, run.state_folder)
            (run.state_folder / newest.name / file.name).write_bytes(data)
            (run.folder / "run.json").unlink(missing_ok=True)  # or training would say that the run is finished
            code, said = _train_here()
            tries += 1
            named = "damaged checkpoint" in said and newest.name in said and "going on from" in said
            if code or not named or fingerprint(run) != expected:
                bad.append(f"{file.name} {how}: exit code {code}, {said[-200:]}")
    _restore(saved, run.state_folder)
    shutil.rmtree(saved)
    return _row("checkpoint file flipped or cut", tries, bad)


def no_checkpoint(run) -> dict:
    """Every checkpoint damaged: refused in one line, and nothing is touched."""
    saved, bad, tries = Path("saved"), [], 0
    shutil.copytree(run.state_folder, saved)
    record = (run.folder / "run.json").read_bytes()
    (run.folder / "run.json").unlink()  # or training would say that the run is finished
    for name in ("policy.safetensors", "optimizer.safetensors", *LOGS, "state.json"):
        _restore(saved, run.state_folder)
        for folder in run.state_folder.glob("step-*"):
            (folder / name).write_bytes((folder / name).read_bytes()[:-3])
        before = _bytes(run.state_folder)
        code, said = _train_here()
        tries += 1
        if code != 2 or "no usable checkpoint" not in said or before != _bytes(run.state_folder):
            bad.append(f"{name}: exit code {code}, {said[-200:]}")
    _restore(saved, run.state_folder)
    shutil.rmtree(saved)
    (run.folder / "run.json").write_bytes(record)
    return _row("every checkpoint damaged", tries, bad)


def results(run, parts: int) -> dict:
    """Damage to a finished run: reading it, or testing its weights, is refused, or gives what it gave before."""
    tries, bad = 0, []
    test = run.study.root / "eval" / run.name / "seed1.parquet"
    files = [run.folder / name for name in ("run.json", *LOGS[:2])]
    files += [*sorted((run.folder / "model").iterdir()), test, test.with_suffix(".json")]
    tested, scores = test.read_bytes(), reading()
    for file in files:
        whole = file.read_bytes()
        for how, data in regions(file, parts):
            file.write_bytes(data)
            tries += 1
            doubt = _differs(lambda: reading() == scores)
            if "model" in file.parts or file.name == "run.json":
                doubt = doubt or _differs(lambda: main_or_raise(EVALUATE) and test.read_bytes() == tested)
            bad += [f"{file.name} {how}: {doubt}"] if doubt else []
        file.write_bytes(whole)
    return _row("result file flipped or cut", tries, bad)


def base(parts: int) -> dict:
    """Damage to the base model that a study trained: no run starts from it."""
    from torture.victims import base_model

    tries, bad = 0, []
    shutil.copytree(base_model(), "results/base")
    study = yaml.safe_load(Path("study.yaml").read_text()) | {"name": "other"}
    Path("other.yaml").write_text(yaml.safe_dump(study | {"model": study["model"] | {"path": "results/base"}}))
    for file in sorted(Path("results/base").iterdir()):
        whole = file.read_bytes()
        for how, data in regions(file, max(1, parts // 4)):
            file.write_bytes(data)
            tries += 1
            if file.name == "provenance.json" and b'"files"' in data:
                continue
            code, said = _main(["evaluate", "other.yaml", "--run", "base", "--seed", "0"])
            if code != 2 or said.count("\n") != 1:
                bad.append(f"{file.name} {how}: exit code {code}, {said[-200:]}")
        file.write_bytes(whole)
    return _row("base model flipped or cut", tries, bad)


def configs(tries: int) -> dict:
    """A study file with one bit flipped: refused in one line, or its runs have another hash if they are others.

    Runs of another hash share no state folder, so nothing can mix.
    """
    rng, bad, path = random.Random(4), [], Path("flipped.yaml")
    data, whole = Path("study.yaml").read_bytes(), the_run()
    for _ in range(tries):
        place, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        try:
            study = load_study(path)
            run = study.run("hdpo-frozen-0.1", 1)
        except UserError as error:
            bad += [f"byte {place}: {error}"] if "\n" in str(error) else []
            continue
        except Exception as error:
            bad.append(f"byte {place}: {type(error).__name__}: {error}")
            continue
        if (run.resolved != whole.resolved) != (run.hash != whole.hash):
            bad.append(f"byte {place}: same hash for another config")
    return _row("study file with a bit flipped", tries, bad)


def reading() -> str:
    """What the reports read of the run, as text."""
    reader, parts = Reader(load_study("study.yaml")), []
    final = reader.final("hdpo-frozen-0.1", 1)
    parts += [final.greedy.tolist(), final.samples.tolist()]
    for curve in reader.training("hdpo-frozen-0.1", 1).values():
        parts += [curve.steps.tolist(), curve.outcomes.greedy.tolist(), curve.outcomes.samples.tolist()]
    metrics: pd.DataFrame = reader.metrics("hdpo-frozen-0.1", 1)
    return f"{parts}{metrics.to_csv()}"


def main_or_raise(arguments: list[str]) -> bool:
    code, said = _main(arguments)
    if code == 2 and said.startswith("hdpo: ") and said.count("\n") == 1:
        raise UserError(said)
    if code:
        raise RuntimeError(f"exit code {code}: {said}")
    return True


def _differs(same: Callable[[], bool]) -> str | None:
    """None where the damage is refused in one line or makes no difference, else what happened."""
    try:
        return None if same() else "another result"
    except UserError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _train_here() -> tuple[int, str]:
    output()
    return wait(train()), output()


def _main(arguments: list[str]) -> tuple[int, str]:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    return code, said.getvalue()


def _restore(saved: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(saved, folder)


def _bytes(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("step-*/*")}


def _row(fault: str, tries: int, bad: list[str]) -> dict:
    return row(fault, tries, tries - len(bad), "; ".join(bad[:3]) or "nothing")
