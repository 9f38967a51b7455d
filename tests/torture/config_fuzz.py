"""Study files broken in every way we could think of: each plans its runs, or is refused in one line with exit code 2.

A mutant is a shipped study with one value exchanged, one key added, dropped or doubled, or its bytes damaged. Those
that are accepted must plan: every run has a hash, a name that gives its method back, and a folder
under results/<name>/.
"""

import contextlib
import copy
import io
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hdpo.run.workflow import load_plannable, load_study_or_exit
from hdpo.study.registry import parse_run
from hdpo.system.errors import UserError
from helpers.studies import ROOT
from helpers.workflow import snakemake
from torture.victims import row

LONGEST = 10.0  # seconds for reading one study twice, on a busy machine
VALUES = [
    *(None, True, False, "", " ", "x", 0, -1, 1, 2, 3, 0.0, -0.0, 0.5, 1.0, -0.5, 1e-6, 1e6, 1e308, 5e-324),
    *(float("nan"), float("inf"), -float("inf"), 2**31, 2**63, 2**64, 10**39, -(10**39), 10**4000, 0.1234567890123),
    *([], [[]], {}, {"a": 1}, [1, 1], [0.1, 0.1], [0], [-1], ["drifting", "drifting"], ["melting"], [None], [1] * 999),
    *({2: float("nan")}, {2: 1.0, 3: 0.0}, {0: 1.0}, {"2": 1.0}, {2: 0.5, 3: 0.5000001}, {True: 1.0}, {2: 1e308}),
    *("; touch pwned", "$(touch pwned)", "`touch pwned`", "' ; touch pwned ; '", '" ; touch pwned "', "| touch pwned"),
    *("../x", "../../etc", "/etc/passwd", "/", ".", "..", "~", "a/b", "{run}", "{{run}}", "a" * 41, "-rf", "x\n"),
    *("\0", "a\0b", "\x1b[31m", "\u202ex", "\ud800", "ŝtudo", "名", "１", "\N{NO-BREAK SPACE}", "A" * 70_000),
    *("nan", "1e-6", "1_0", "0x10", "1:30", "yes", "2001-01-01", "./nowhere", "results/../../x", "file:///etc/passwd"),
    *("reference", "x y", "C:\\x", "\\", "#", "&a", "*a", "!!int 1", "a: b", "[", "%", "@", "\t", "\r\n", "é" * 40),
]
SNIPPETS = [
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\r", b"\x85", b"\x1b[2J", b"\xe2\x80\xa8", b"\xed\xa0\x80"),
    *(b"&a ", b"*a", b"!!python/object/apply:os.system ['touch pwned']", b"!!bool x", b'!!int ""', b"!!timestamp x"),
    *(b"<<: {name: x}\n", b"? [1, 2]\n: x\n", b"---\n", b"...\n", b"- ", b": ", b"#", b"'", b'"', b"|\n", b">\n"),
    *(b"[" * 5000, b"{" * 5000, b"[" * 200 + b"]" * 200, b"{a: " * 300, b"- " * 3000, b"0x" + b"f" * 5000, b"9" * 5000),
    *(b"0b_", b"0x_", b"2001-99-99", b"1:99:99", b"=", b"<<", b"~", b".nan", b"-.inf", b"@", b"`", b"%YAML 9.9\n"),
    *(b"\n" * 3000, b" " * 3000, b"x" * 90_000),
]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of keys and indices to everything within `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutate_values(rng: random.Random, study: dict) -> bytes:
    """Exchange, drop, add or rename one to three entries."""
    study = copy.deepcopy(study)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *path, key = rng.choice(list(places(study)))
        section = study
        for part in path:
            section = section[part]
        action = rng.choice(("exchange", "exchange", "exchange", "scale", "drop", "add", "rename"))
        value = section[key]
        if action == "scale" and isinstance(value, int | float) and not isinstance(value, bool):
            section[key] = rng.choice((-value, value * 10, value * 10**9, value / 2, value + 1, str(value), [value]))
        elif action == "drop" or (action == "rename" and isinstance(section, list)):
            del section[key]
        elif action == "rename":
            section[rng.choice(("", "x", 7, None, f"{key} ", str(key).upper(), "ключ", "\x1b[31m", "k" * 9999))] = value
        elif action == "add" and isinstance(section, dict):
            section[f"{key}_"] = copy.deepcopy(rng.choice(VALUES))
        else:
            section[key] = copy.deepcopy(rng.choice(VALUES))
        if not any(places(study)):
            break
    return yaml.safe_dump(study, allow_unicode=rng.random() < 0.5, sort_keys=False).encode("utf-8", "surrogatepass")


def mutate_bytes(rng: random.Random, text: bytes) -> bytes:
    """Flip, cut, double or insert bytes and lines."""
    action = rng.choice(("flip", "truncate", "insert", "insert", "snippet", "snippet", "line", "indent"))
    at, lines = rng.randrange(len(text)), text.splitlines(keepends=True)
    if action == "flip":
        return text[:at] + bytes([text[at] ^ 1 << rng.randrange(8)]) + text[at + 1 :]
    if action == "truncate":
        return text[:at]
    if action == "insert":
        return text[:at] + rng.randbytes(rng.randint(1, 3)) + text[at:]
    if action == "snippet":
        at = rng.choice([at, 0, len(text), text.find(b": ", at) + 2, text.find(b"\n", at) + 1])
        return text[:at] + rng.choice(SNIPPETS) + text[at:]
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    if action == "line":  # doubled here or elsewhere, moved, or dropped
        line = lines[i] if rng.random() < 0.5 else lines.pop(i)
        return b"".join([*lines[:j], line, *lines[j:]]) if rng.random() < 0.8 else b"".join(lines)
    lines[i] = b" " * rng.randint(1, 5) + lines[i] if rng.random() < 0.5 else lines[i].lstrip()
    return b"".join(lines)


def plan(path: Path) -> int:
    """How many runs the study has, after checking what every accepted study promises.

    Raises:
        UserError: the study is refused.
    """
    study = load_plannable(path)
    runs = [study.run(name, seed) for name in study.runs for seed in study.seeds]
    assert len({run.folder for run in runs}) == len(runs), "two runs share a folder"
    results = Path("results").resolve()
    for method in study.methods:
        assert parse_run(method.run_name) == method, "a run's name does not give its method back"
    for run in runs[:50]:
        for folder in (run.folder, run.state_folder, study.built_base):
            assert folder.resolve().is_relative_to(results / study.name), "outside results/<name>/"
        assert len(run.hash) == len(study.identity) == len(study.base_hash) == 12
    return len(runs)


def refusal(path: Path) -> str | None:
    """What is wrong with how a study is refused: None if exit code 2, one line on stderr and nothing else."""
    code, out, err = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            load_study_or_exit(path)
        except SystemExit as stop:
            code = stop.code
    line = err.getvalue()
    if code != 2 or out.getvalue() or not line.startswith("hdpo: ") or line.count("\n") != 1 or len(line) > 700:
        return f"exit code {code}, stderr {line[:200]!r}"
    return None if line[:-1].isprintable() else f"unprintable: {line[:200]!r}"


def attempt(path: Path) -> tuple[str, str | None]:
    """`planned`, `refused` or `lost`, and for the latter what happened."""
    before = time.perf_counter()
    try:
        plan(path)
        fate, wrong = "planned", None
    except UserError:
        fate, wrong = "refused", refusal(path)
    except BaseException as error:  # anything else is what this looks for
        fate, wrong = "lost", f"{type(error).__name__}: {error}"[:300]
    if time.perf_counter() - before > LONGEST:
        wrong = f"took {time.perf_counter() - before:.1f} s"
    return ("lost" if wrong else fate), wrong


def mutants(rng: random.Random, text: bytes, count: int) -> Iterator[bytes]:
    study = yaml.safe_load(text)
    for i in range(count):
        yield mutate_values(rng, study) if i % 2 else mutate_bytes(rng, text)


def odd_files(folder: Path) -> list[Path]:
    """Things that are no study file, or one in an odd place."""
    folder.mkdir()
    good = (ROOT / "config/smoke.yaml").read_bytes()
    contents = {"empty": b"", "bomb": BOMB.encode(), "list": b"[1, 2]", "rec": b"a: &a [*a]", "\x1b[31m\n": b"a: ["}
    contents |= {"large": good + b"#" * 2_000_000, "utf16": good.decode().encode("utf-16")}
    contents |= {name: good for name in ("a b'\"$(touch pwned);`touch pwned`", "ŝtudo", "-rf")}
    contents |= {"bom": b"\xef\xbb\xbf" + good, "many": good.replace(b"[1]", str([*range(3000)]).encode(), 1)}
    paths = []
    for name, content in contents.items():
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_bytes(content)
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "fifo.yaml")
    targets = {"loop": "loop.yaml", "dangling": "nowhere", "link": "empty.yaml", "device": "/dev/zero"}
    for name, target in targets.items():
        (folder / f"{name}.yaml").symlink_to(target)
    names = ("folder", "fifo", "loop", "dangling", "link", "device", "missing", "long" * 99, "empty.yaml/x")
    return [*paths, *(folder / f"{name}.yaml" for name in names)]


def dry_run(folder: Path, study: str, planned: bool) -> str | None:
    """What is wrong with Snakemake's answer: None if it plans or refuses in one line of ours, as load_study did."""
    done = snakemake(folder, study, "--dry-run")
    printed = done.stdout + done.stderr
    ours = [line for line in printed.splitlines() if line.startswith("hdpo: ")]
    if "Traceback" in printed or "Error in file" in printed or list(folder.glob("pwned")):
        return printed[-400:]
    right = done.returncode == 0 and not ours if planned else done.returncode == 2 and len(ours) == 1
    return None if right else f"exit code {done.returncode}: {printed[-400:]}"


def run(quick: bool) -> list[dict]:
    """Rows for the torture table: every shipped study mutated, odd files, and a sample through Snakemake."""
    studies = sorted((ROOT / "config").glob("*.yaml"))
    each, through_snakemake = (60, 1) if quick else (1000, 5)
    rows, fates, sample = [], Counter(), []
    with tempfile.TemporaryDirectory(prefix="hdpo-fuzz-") as top, contextlib.chdir(top):
        Path("results/reference").mkdir(parents=True)  # its base model is that of config/small.yaml
        Path("results/reference/small").symlink_to(ROOT / "results/reference/small")
        for study in studies:
            rng, failures = random.Random(study.name), []
            path = Path(study.name).absolute()
            kept: dict[str, list[bytes]] = {"planned": [], "refused": []}
            for mutant in mutants(rng, study.read_bytes(), each):
                path.write_bytes(mutant)
                fate, wrong = attempt(path)
                fates[fate] += 1
                failures += [f"{wrong} in {mutant[:2000]!r}"] if wrong else []
                kept.get(fate, []).append(mutant)
            for fate, found in kept.items():
                sample += [(fate, mutant) for mutant in rng.sample(found, min(through_snakemake, len(found)))]
            rows.append(tally(f"mutated config/{study.name}", each, failures))
        odd = odd_files(Path("odd"))
        failures = [f"{wrong} in {path.name!r}" for path in odd for _, wrong in [attempt(path)] if wrong]
        rows.append(tally("odd study files", len(odd), failures))
        failures = ["a shell or YAML tag ran"] if list(Path().rglob("pwned")) else []
        for i, (fate, mutant) in enumerate(sample):
            Path(f"mutant{i}.yaml").write_bytes(mutant)
            wrong = dry_run(Path.cwd(), f"mutant{i}.yaml", planned=fate == "planned")
            failures += [f"{wrong} in {mutant[:2000]!r}"] if wrong else []
        values = ["1", "[1]", "", "{a: b}", "a{b}.yaml"][: 1 if quick else 5]
        failures += [wrong for value in values for wrong in [dry_run(Path.cwd(), value, planned=False)] if wrong]
        rows.append(tally("studies through snakemake --dry-run", len(sample) + len(values), failures))
    planned = f"{fates['planned']} mutants planned, {fates['refused']} refused in one line"
    return [
        found | {"fault": f"{found['fault']} ({planned})" if found is rows[0] else found["fault"]} for found in rows
    ]


def tally(fault: str, tries: int, failures: list[str]) -> dict:
    """A row of the torture table; of what was lost, the first case in full."""
    return row(fault, tries, tries - len(failures), f"{len(failures)}, first: {failures[0]}" if failures else "nothing")
