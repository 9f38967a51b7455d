"""Which code made the results: the hash in each record beside that of the present code."""

from collections.abc import Iterable, Iterator

from hdpo.claims.sources import Source, source_of
from hdpo.study.study import BASE_RUN, Study


def codes_line(study: Study, keys: Iterable[tuple[str, int]]) -> str:
    """One line if a training run or an evaluation among `keys`, (run, seed), is not by the present code; else "".

    It names each such code with what it made. The present code differs between methods, so that results of one commit
    may have several codes: each record is compared with the present code of its own run. Published results are
    compared with each other instead, seed by seed: later code cannot change them, and `hdpo repeat` says whether it
    still makes the same.

    Raises:
        UserError: a record is damaged.
    """
    present, source = 0, source_of(study)
    published: dict[str, str] = {}  # the code of the first seed
    others: dict[str, dict[str, list[int]]] = {}  # seeds by code and by what it made
    for run, seed in keys:
        for kind, code, expected in _codes(study, source, run, seed):
            if study.published and code is not None:
                expected = published.setdefault(kind or run, code)
            if code == expected:
                present += 1
            elif code is not None:
                others.setdefault(code, {}).setdefault(f"{kind}{run}", []).append(seed)
    if not others:
        return ""
    codes = [f"{code} made {', '.join(map(_named, made, made.values()))}" for code, made in others.items()]
    codes += [f"{'one other' if study.published else 'the present'} code made the rest"] if present else []
    return f"Results of {_counted(len(codes))}: {'; '.join(codes)}."


def stated_codes(study: Study, run: str, seeds: Iterable[int]) -> dict[str, object]:
    """`code`, which trained a run, and `test_code`, which tested it, as the records of its seeds state; "" for none.

    Raises:
        UserError: a record is damaged.
    """
    found: dict[str, list[str]] = {"code": [], "test_code": []}
    source = source_of(study)
    for seed in seeds:
        for kind, code, _ in _codes(study, source, run, seed):
            found["test_code" if kind else "code"] += filter(None, [code])
    return {name: ", ".join(dict.fromkeys(codes)) for name, codes in found.items()}


def _codes(study: Study, source: Source, run: str, seed: int) -> Iterator[tuple[str, str | None, str]]:
    """Of training and of evaluation: what it is called, the code that its record states, and the present code."""
    kinds = {"test": ("evaluation of ", study.evaluation_code)}
    if run != BASE_RUN:
        kinds = {"training": ("", study.run(run, seed).code)} | kinds
    for kind, (called, present) in kinds.items():
        found = source.record(kind, run, seed)
        yield called, found[1].get("code", "an unknown code") if found else None, present


def _named(what: str, seeds: list[int]) -> str:
    return f"{what} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})"


def _counted(number: int) -> str:
    words = ("one code, not the present one", "two codes", "three codes", "four codes")
    return words[number - 1] if number <= len(words) else f"{number} codes"
