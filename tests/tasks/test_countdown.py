"""Countdown: the verifier against brute force, the generators against the verifier, disjoint splits."""

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdpo.cli import main
from hdpo.study.schema import as_tuples
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from hdpo.tasks import SPLITS
from hdpo.tasks.chains import draw_chain, rewrite, solves
from hdpo.tasks.checks import check_task, most_problems
from hdpo.tasks.countdown import SPLIT_PERCENT, build_tokenizer, problem_id, split_of
from helpers.studies import task_of, tiny
from torture import verifier_fuzz


def countdown(**changes):
    return task_of(Study.model_validate(as_tuples(tiny(**changes))))


def all_solutions(numbers: tuple[int, ...], target: int) -> set[str]:
    """Every correct chain by exhaustive search with exact fractions: an independent statement of the rules."""
    found = set()

    def search(pool: tuple[int, ...], steps: tuple[str, ...]) -> None:
        if len(pool) == 1:
            if pool[0] == target:
                found.add(" , ".join(steps))
            return
        for i, j in itertools.permutations(range(len(pool)), 2):
            a, b = Fraction(pool[i]), Fraction(pool[j])
            rest = tuple(pool[n] for n in range(len(pool)) if n not in (i, j))
            for operator, value in (("+", a + b), ("-", a - b), ("*", a * b), ("/", a / b)):
                if value.denominator == 1 and 1 <= value <= 63:
                    search((*rest, int(value)), (*steps, f"{pool[i]} {operator} {pool[j]} = {value}"))

    search(numbers, ())
    return found


def test_verifier_accepts_exactly_the_brute_force_solutions():
    numbers, target = (3, 4, 6), 18
    solutions = all_solutions(numbers, target)
    assert "3 * 4 = 12 , 12 + 6 = 18" in solutions
    steps = [
        f"{a} {op} {b} = {c}"
        for a, b in itertools.product((3, 4, 6, 12, 24), repeat=2)
        for op in "+-*/"
        for c in (1, 2, 7, 9, 10, 12, 18, 24)
    ]
    accepted = {text for first in steps for second in steps if solves(numbers, target, text := f"{first} , {second}")}
    assert accepted == {text for text in solutions if set(text.split(" , ")) <= set(steps)}
    assert len(accepted) >= 4


@pytest.mark.parametrize(
    "response",
    [
        "",
        "3 * 4 = 12",  # a number is left over
        "3 * 4 = 12 , 12 + 6 = 18 , 18 - 0 = 18",  # one step too many
        "3 * 4 = 12 , 12 + 6 = 17",  # wrong arithmetic
        "3 * 4 = 12 , 3 + 6 = 9",  # a number used twice
        "6 * 3 = 18 , 18 / 1 = 18",  # a number that is not there
        "3 * 4 = 12 , 12 + 6 = 18 ,",
        "3 * 4 = 12 ,12 + 6 = 18",
        "3 * 4 = 12  , 12 + 6 = 18",
        "3 * 4 = 12 , 12 + 06 = 18",
        "3 * 4 = 12 , 12 +- 6 = 18",
        "3 × 4 = 12 , 12 + 6 = 18",
        "３ * 4 = 12 , 12 + 6 = 18",  # a full-width digit
        "3 * 4 == 12 , 12 + 6 = 18",
        "3 * 4 = 12 , 12 + 6 = 18\n",
        "-3 * -4 = 12 , 12 + 6 = 18",
        "9" * 10_000 + " * 4 = 12 , 12 + 6 = 18",
    ],
)
def test_verifier_rejects_malformed_and_wrong_chains(response):
    assert not solves((3, 4, 6), 18, response)


def test_verifier_rejects_a_chain_that_ends_elsewhere():
    assert solves((3, 4), 12, "4 * 3 = 12")
    assert not solves((3, 4), 12, "3 + 4 = 7")


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_drawn_and_rewritten_chains_are_correct(seed, k):
    rng = random.Random(seed)
    chain = draw_chain(rng, k)
    again = rewrite(rng, chain)
    assert solves(chain.numbers, chain.target, chain.text())
    assert solves(chain.numbers, chain.target, again.text())
    assert sorted(again.text().replace(" , ", " ").split()) == sorted(chain.text().replace(" , ", " ").split())


@given(st.text(alphabet="0123456789+-*/=, ", max_size=60))
def test_verifier_never_raises_and_agrees_with_brute_force(response):
    assert solves((3, 4), 12, response) == (response in all_solutions((3, 4), 12))


def test_splits_share_no_problem_even_with_numbers_reordered():
    task = countdown(task__mixture={2: 0.2, 3: 0.4, 4: 0.4}, task__problems=dict.fromkeys(SPLITS, 60))
    seen: dict[tuple, str] = {}
    for split in SPLITS:
        assert len(task.problems(split)) == 60
        for problem in task.problems(split):
            numbers, target = problem.question.removesuffix(" ?").split(" > ")
            key = (tuple(sorted(int(number) for number in numbers.split())), int(target))
            assert seen.setdefault(key, split) == split
            assert split_of(*key) == split
    assert len(seen) == 4 * 60  # within a split nothing repeats either


def test_split_shares_are_as_declared_and_reordering_is_the_same_problem():
    assert sum(SPLIT_PERCENT) == 100
    assert problem_id((5, 3, 9), 17) == problem_id((9, 5, 3), 17)
    rng = random.Random(0)
    splits = [split_of(chain.numbers, chain.target) for chain in (draw_chain(rng, 4) for _ in range(4000))]
    for split, percent in zip(SPLITS, SPLIT_PERCENT, strict=True):
        assert abs(splits.count(split) / 4000 - percent / 100) < 0.03  # ±4 standard errors


def test_problems_depend_on_the_task_seed_only():
    first, again, other = countdown(), countdown(), countdown(task__seed=7)
    assert first.problems("test") == again.problems("test")
    assert first.problems("test") != other.problems("test")


def test_hint_answer_is_the_last_step_of_the_same_problem():
    whole, last = countdown(), countdown(task__hint="answer")
    for a, b in zip(whole.problems("train"), last.problems("train"), strict=True):
        assert a.id == b.id and a.hint.endswith(b.hint) and " , " not in b.hint
        assert whole.privileged_prompt(a) == a.question[:-1] + f"! {a.hint} ?"
        assert whole.reward(a, a.hint) == 1.0


@pytest.mark.slow
def test_too_many_small_problems_are_refused_by_name():
    with pytest.raises(UserError, match=r"task.problems.test: .* size 2 do not exist"):
        countdown(task__mixture={2: 1.0}, task__problems__test=5000).problems("test")


def test_tokenizer_has_one_token_per_number_and_symbol():
    tokenizer = build_tokenizer()
    assert len(tokenizer) == 76
    text = "3 * 4 = 12 , 12 + 6 = 18"
    ids = tokenizer(text + " <eos>")["input_ids"]
    assert len(ids) == len(text.split()) + 1 and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_verifier_agrees_with_a_checker_written_apart():
    for row in verifier_fuzz.run(quick=True):
        assert row["tries"] > 0 and row["lost"] == "nothing", row


def test_an_impossible_number_of_problems_is_refused_at_once(make_study, capsys):
    """By the plan and the dry run too; all problems of size 2 are counted, those of size 5 bounded."""
    found = {
        (tuple(sorted(pair)), target) for pair in itertools.product(range(1, 17), repeat=2) for target in range(64)
    }
    possible = {split: 0 for split in SPLITS}
    for pair, target in found:
        if all_solutions(pair, target):
            possible[split_of(pair, target)] += 1
    assert {split: most_problems(2, split) for split in SPLITS} == possible
    check_task(make_study(task__problems__train=possible["train"], task__mixture={2: 1.0}))
    make_study(task__problems__train=possible["train"] + 1, task__mixture={2: 1.0})
    for command in ("plan", "train --run grpo --seed 1"):
        assert main([command.split()[0], "study.yaml", *command.split()[1:]]) == 2
        assert f"at most {possible['train']} exist" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"problems\.train: 700000 distinct problems of size 5 wanted, at most"):
        check_task(make_study(task__problems__train=700_000, task__mixture={5: 1.0}))
