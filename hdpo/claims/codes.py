"""Which code made the results: the hash in each record beside that of the present code."""

from collections.abc import Iterable
from pathlib import Path

from hdpo.study.study import BASE_RUN, Study
from hdpo.system.files import read_record


def codes_line(study: Study, keys: Iterable[tuple[str, int]]) -> str:
    """One line if a training run or an evaluation among `keys`, (run, seed), is not by the present code; else "".

    It names each such code with what it made. The present code differs between methods, so that results of one commit
    may have several codes: each record is compared with the present code of its own run.

    Raises:
        UserError: a record is damaged.
    """
    present = 0
    others: dict[str, dict[str, list[int]]] = {}  # seeds by code and by what it made
    for run, seed in keys:
        made = [("evaluation of ", study.root / "eval" / run / f"seed{seed}.json", study.evaluation_code)]
        if run != BASE_RUN:
            own = study.run(run, seed)
            made.insert(0, ("", own.folder / "run.json", own.code))
        for kind, path, expected in made:
            code = _code(path)
            if code == expected:
                present += 1
            elif code is not None:
                others.setdefault(code, {}).setdefault(f"{kind}{run}", []).append(seed)
    if not others:
        return ""
    codes = [f"{code} made {', '.join(map(_named, made, made.values()))}" for code, made in others.items()]
    codes += ["the present code made the rest"] if present else []
    return f"Results of {_counted(len(codes))}: {'; '.join(codes)}."


def _code(path: Path) -> str | None:
    """The code that a record states, None without a record."""
    return read_record(path).get("code", "an unknown code") if path.exists() else None


def _named(what: str, seeds: list[int]) -> str:
    return f"{what} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})"


def _counted(number: int) -> str:
    words = ("one code, not the present one", "two codes", "three codes", "four codes")
    return words[number - 1] if number <= len(words) else f"{number} codes"
