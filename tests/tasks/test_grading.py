"""The math reward: hand-judged answers, failures counted apart, time-outs that cost one answer, throughput."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from math_verify import ExprExtractionConfig, LatexExtractionConfig
from math_verify.metric import math_metric

from hdpo.tasks import Verdict
from hdpo.tasks.grading import grade
from hdpo.tasks.verifiers import last_boxed
from hdpo.tasks.workers import Crashed, TimedOut, WorkerPool

BOTH = ("hf_math_verify", "boxed")
TOWER = "The answer is \\boxed{9^{9^{9^{9}}}}."  # neither its value nor its digits can be had


@pytest.mark.parametrize(
    ("expected", "response"),
    [
        ("72", "48 + 24 = 72, so \\boxed{72}."),
        ("\\frac{1}{2}", "\\boxed{0.5}"),
        ("1/2", "\\boxed{\\dfrac{2}{4}}"),
        ("2\\sqrt{3}", "\\boxed{\\sqrt{12}}"),
        ("x^2 - 1", "\\boxed{(x-1)(x+1)}"),
        ("1000", "\\boxed{1{,}000}"),
        ("(1, 2)", "\\boxed{(1, 2)}"),
        ("\\{1, 2\\}", "\\boxed{\\{2, 1\\}}"),
        (
            "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
            "\\boxed{\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}}",
        ),
    ],
)
@pytest.mark.parametrize("reading", BOTH)
def test_equal_answers_are_correct_however_they_are_written(expected, response, reading):
    assert grade(expected, response, reading) is Verdict.CORRECT


@pytest.mark.parametrize(
    ("expected", "response"),
    [
        ("72", "\\boxed{73}"),
        ("72", "\\boxed{-72}"),
        ("\\frac{1}{2}", "\\boxed{0.51}"),
        ("x^2 - 1", "\\boxed{x^2 + 1}"),
        ("(1, 2)", "\\boxed{(2, 1)}"),
        ("5", "\\boxed{-3} and \\boxed{5}, no: \\boxed{4}"),
    ],
)
@pytest.mark.parametrize("reading", BOTH)
def test_other_answers_are_wrong(expected, response, reading):
    assert grade(expected, response, reading) is Verdict.WRONG


def test_strict_reading_wants_a_box_and_the_base_frameworks_does_not():
    mention = "The number 72 appears somewhere, and the answer is 72"
    assert grade("72", mention, "hf_math_verify") is Verdict.CORRECT
    assert grade("72", mention, "boxed") is Verdict.UNPARSABLE
    for reading in BOTH:
        assert grade("72", "I do not know.", reading) is Verdict.UNPARSABLE
        assert grade("72", "", reading) is Verdict.UNPARSABLE


def test_base_frameworks_reading_is_math_verifys_own_metric():
    metric = math_metric((LatexExtractionConfig(),), (ExprExtractionConfig(), LatexExtractionConfig()))
    expected = ("72", "\\frac{1}{2}", "x^2 - 1", "(1, 2)", "\\text{no}", "10\\%", "3.14")
    responses = (
        "so $48 + 24 = 72$",
        "\\boxed{5}, no: \\boxed{72}",
        "The final answer is 1/2. I hope it is correct.",
        "$$x = 0.5$$",
        "\\boxed{(x-1)(x+1)}",
        "\\boxed{1, 2}",
        "\\boxed{\\text{No}}",
        "0.1 of it, that is 10%",
        "answer: 3.14000",
        "nothing at all",
    )
    verdicts = {(gold, text): grade(gold, text, "hf_math_verify") for gold in expected for text in responses}
    scores = {(gold, text): metric(["\\boxed{" + gold + "}"], [text])[0] for gold in expected for text in responses}
    assert {pair: float(verdict is Verdict.CORRECT) for pair, verdict in verdicts.items()} == scores
    assert 8 <= sum(scores.values()) <= 20


def test_strict_reading_takes_the_last_box():
    text = "first \\boxed{5}, but then \\boxed{-3}"
    assert grade("-3", text, "boxed") is Verdict.CORRECT and grade("5", text, "boxed") is Verdict.WRONG


def test_last_box_is_found_by_balanced_braces():
    assert last_boxed("\\boxed{1} then \\boxed{\\frac{a}{b}} end}") == "\\frac{a}{b}"
    assert last_boxed("\\boxed{\\{1, 2\\}}") == "\\{1, 2\\}"
    assert last_boxed("\\boxed{1} then \\boxed{2") is None  # cut off: what came before is not the final answer
    assert last_boxed("boxed{1}") is None


def behave(how: str) -> str:
    """A call that behaves badly in every way a verifier can; runs in a worker."""
    if how == "raise":
        raise ValueError("no such number")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "stuck in C":
        pow(3, 3 ** (3**17))  # one C call: no Python-level signal handler would ever run
    if how == "memory":
        bytearray(1 << 36)
    if how == "recursion":
        behave(how)
    return how


@pytest.fixture
def pool():
    pool = WorkerPool(behave, 2, 0.5)
    yield pool
    pool.close()


def test_bad_calls_are_told_apart_and_cost_no_other_call(pool):
    results = pool.map(
        [("fine",), ("raise",), ("segfault",), ("stuck in C",), ("memory",), ("recursion",)] + [("ok",)] * 20
    )
    assert results[0] == "fine" and results[6:] == ["ok"] * 20
    assert results[3] == TimedOut()
    assert results[1] == Crashed("ValueError: no such number")
    assert all(isinstance(results[i], Crashed) for i in (2, 4, 5))
    assert "code -11" in results[2].error and "MemoryError" in results[4].error
    assert pool.map([("again",)] * 3) == ["again"] * 3


def test_a_call_that_would_never_end_is_ended(pool):
    assert pool.map([("stuck in C",), ("fine",)]) == [TimedOut(), "fine"]


def test_a_worker_killed_from_outside_is_replaced_and_its_call_repeated(pool):
    pool.map([("warm",)] * 2)
    victim = pool.workers[0].process.pid
    os.kill(victim, signal.SIGTERM)  # as when a scheduler signals every process of a job
    assert pool.map([("fine",)] * 50) == ["fine"] * 50
    assert victim not in [worker.process.pid for worker in pool.workers]


def test_an_interrupted_batch_leaves_no_answer_for_the_next(pool, monkeypatch):
    pool.map([("warm",)] * 2)

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hdpo.tasks.workers.wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.map([("old",)] * 4)
    assert pool.map([("new",)] * 4) == ["new"] * 4


def test_workers_serve_a_thread_too_and_end_with_the_pool(pool):
    """math-verify's own time-outs work in the main thread only."""
    found = []
    thread = threading.Thread(target=lambda: found.extend(pool.map([("fine",), ("stuck in C",)])))
    thread.start()
    thread.join()
    assert found == ["fine", TimedOut()]
    processes = [worker.process for worker in pool.workers]
    pool.close()
    assert not any(process.is_alive() for process in processes) and pool.workers == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")
def test_no_worker_outlives_a_killed_parent():
    """The idle worker sees the closed pipe, the stuck one dies of its timer."""
    code = (
        "from test_grading import WorkerPool, behave, threading, time\n"
        "pool = WorkerPool(behave, 2, 1.0)\n"
        "pool.map([('warm',)] * 2)\n"
        "print(*[worker.process.pid for worker in pool.workers], flush=True)\n"
        "pool.map([('stuck in C',)])\n"
    )
    folder = Path(__file__).parent
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(0.2)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert len(workers) == 2


def test_hostile_answers_cost_their_time_out_and_spare_the_batch():
    hostile = [
        TOWER,
        "\\boxed{10^{10^{10}}}",
        "\\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}",
        "$" + "a" * 100_000 + "$",
        "\\boxed{" + "{" * 10_000,
        "\x00\ud800\\boxed{\x00}",
        "\\boxed{\\frac{1}{0}}",
        "9**9**9**9",
    ]
    calls = [("72", text, reading) for text in hostile for reading in BOTH]
    ordinary = [("72", f"so \\boxed{{{n}}}", "boxed") for n in range(60, 90)]
    pool = WorkerPool(grade, 2, 1.0)
    try:
        results = pool.map([*calls, *ordinary])
    finally:
        pool.close()
    assert results[:2] == [TimedOut()] * 2
    assert Verdict.CORRECT not in results[: len(calls)]
    assert results[len(calls) :] == [Verdict.CORRECT if n == 72 else Verdict.WRONG for n in range(60, 90)]
    timed_out = sum(result == TimedOut() for result in results)
    assert 2 <= timed_out <= len(calls)


def test_ordinary_answers_are_judged_in_order():
    rng = random.Random(0)
    calls = []
    for _ in range(300):
        a, b = rng.randrange(1000), rng.randrange(1000)
        work = f"First there are ${a}$ apples. " * 8 + f"Adding them, ${a} + {b} = {a + b}$."
        calls.append(
            (str(a + b), f"{work} The final answer is \\boxed{{{a + b + rng.randrange(2)}}}", "hf_math_verify")
        )
    pool = WorkerPool(grade, 2, 5.0)
    try:
        results = pool.map(calls)
    finally:
        pool.close()
    assert results == [Verdict.CORRECT if f"{{{c[0]}}}" in c[1] else Verdict.WRONG for c in calls]
