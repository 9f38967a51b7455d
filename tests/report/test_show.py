"""`hdpo show` and the page's story: readable, escaped, quick, and honest about what the samples hold."""

import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hdpo.cli import main
from hdpo.report.samples import LIMITS, find_samples, read, shade
from hdpo.report.story import find_story
from hdpo.report.web_page import write_page
from hdpo.run.samples_file import write_samples
from hdpo.study.study import Study
from hdpo.system.errors import UserError
from helpers.synthetic import seal

HOSTILE = "<script>alert(1)</script>\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}"
RUN = "hdpo-frozen-0.1"


def row(step: int, kind: str, role: str, number: int, reward: int, text: str, problem: str = "p1", **more) -> dict:
    kept = bool(reward) if role == "teacher" else None
    prompt = f"{problem} ?" if role == "student" else f"{problem} ! the hint ?"
    same = {"step": step, "problem": problem, "kind": kind, "role": role, "number": number, "reward": reward}
    return same | {"kept": kept, "prompt": prompt, "text": text, "tokens": None, "jsd": None} | more


CLIFF = [
    row(0, "cliff", "student", 0, 0, "wrong one"),
    row(0, "cliff", "student", 1, 0, HOSTILE),
    row(0, "cliff", "teacher", 0, 0, "a failed try"),
    row(0, "cliff", "teacher", 1, 1, "so it is", tokens=["so", " it", " is", HOSTILE], jsd=[0.5, None, 0.02, 0.3]),
]
LATER = [
    row(20, "mixed", "student", 0, 1, "right", problem="p2"),
    row(20, "followed", "student", 0, 0, "not yet"),
    row(40, "followed", "student", 0, 0, "nor now"),
    row(40, "followed", "student", 1, 1, "at last"),
]


@pytest.fixture
def store(make_study):
    """Writes samples as those of a finished run, and returns the study."""

    def write(rows: list[dict], study: Study | None = None, **changes) -> Study:
        study = study or make_study(**changes)
        write_samples(study.run(RUN, 1).folder / "samples.parquet", rows)
        seal(study, RUN, 1)
        return study

    return write


def shown(capsys, *arguments: str) -> str:
    assert main(["show", "study.yaml", "--run", RUN, "--seed", "1", *arguments]) == 0
    return capsys.readouterr().out


def test_the_newest_sample_is_printed_and_others_on_request(store, capsys):
    store(CLIFF + LATER)
    newest = shown(capsys)
    assert newest.startswith(f"run {RUN} seed 1: samples of steps 0, 20, 40") and "step 40, problem p1" in newest
    assert "at last" in newest and "wrong one" not in newest and "student: 1 of 2 right" in newest
    first = shown(capsys, "--step", "0")
    assert "student: 0 of 2 right" in first and "teacher: 1 of 2 right" in first and "p1 ! the hint ?" in first
    assert "1 ✓ kept  so it is" in first and "0 ✗  a failed try" in first
    assert '"so" 0.500, ' in first and "mean 0.273" in first
    assert [f"step {step}, problem p1" in shown(capsys, "--problem", "p1") for step in (0, 20, 40)] == [True] * 3
    assert "p2" not in shown(capsys, "--step", "20", "--problem", "p1")


def test_model_output_cannot_command_the_terminal(store, capsys, monkeypatch):
    store(CLIFF)
    plain = shown(capsys)
    assert all(character == "\n" or character.isprintable() for character in plain)
    assert "\\x1b[2J\\u202e" in plain

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    main(["show", "study.yaml", "--run", RUN, "--seed", "1"])
    coloured = sys.stdout.getvalue()
    assert set(re.findall(r"\x1b[^m]*m", coloured)) <= {"\x1b[1m", "\x1b[0m"} | {
        f"\x1b[30;48;5;{colour}m" for colour in (230, 228, 222, 215, 209)
    }
    assert "\x1b[30;48;5;209mso\x1b[0m" in coloured and "\\x1b[2J" in coloured
    assert "\x1b[30;48;5;230m is\x1b[0m" in coloured  # 0.02 nats
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", Terminal())
    main(["show", "study.yaml", "--run", RUN, "--seed", "1"])
    assert sys.stdout.getvalue() == plain


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--step", "7"], "no sample of step 7; there are 0, 20, 40"),
        (["--problem", "x\x1b"], "no sample of problem 'x\\\\x1b'; there are p1, p2"),
        (["--step", "0", "--problem", "p2"], "no sample of problem 'p2'; there are p1"),
    ],
)
def test_what_is_not_there_is_one_line(store, capsys, arguments, expected):
    store(CLIFF + LATER)
    assert main(["show", "study.yaml", "--run", RUN, "--seed", "1", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(expected, error)


def test_missing_or_altered_samples_are_one_line(store, make_study, capsys):
    make_study()
    assert main(["show", "study.yaml", "--run", RUN, "--seed", "1"]) == 2
    assert "samples.parquet: missing; train it first" in capsys.readouterr().err
    study = store(CLIFF)
    write_samples(study.run(RUN, 1).folder / "samples.parquet", LATER)
    assert main(["show", "study.yaml", "--run", RUN, "--seed", "1"]) == 2
    assert "samples.parquet: missing, truncated or altered" in capsys.readouterr().err
    with pytest.raises(UserError, match="samples is null"):
        find_samples(study.model_copy(update={"samples": None}), "grpo", 1)


def test_a_run_in_training_is_shown_from_its_state(make_study, capsys):
    study = make_study()
    write_samples(study.root / "state" / f"{RUN}-seed1-0123456789ab-0123456789ab" / "samples.parquet", CLIFF)
    assert "so it is" in shown(capsys)


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_html_is_one_escaped_page(store, capsys):
    store(CLIFF + LATER)
    assert "samples in out/all.html" in shown(capsys, "--html", "out/all.html")
    text = Path("out/all.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object")]
    links = [attributes.get(key) for _, attributes in page.tags for key in ("src", "href") if attributes.get(key)]
    assert links == ["data:,"] and "default-src 'none'" in text
    assert "<script>alert(1)</script>\\x1b[2J\\u202e" in page.text and "\x1b" not in text and "\u202e" not in text
    assert all(said in page.text for said in ("wrong one", "a failed try", "at last", "p1 ! the hint ?"))
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "span"]
    assert "jsd5" in classes and "jsd4" in classes and "jsd1" in classes
    shown(capsys, "--html", "one.html", "--step", "20")
    assert "at last" not in Path("one.html").read_text() and "not yet" in Path("one.html").read_text()


def test_shades_follow_their_limits():
    assert [shade(value) for value in (None, 0.0, *LIMITS, 0.69)] == [0, 0, 1, 2, 3, 4, 5, 5]


def test_a_story_ends_with_the_first_success(store):
    story = find_story(store(CLIFF + LATER))
    assert (story.run, story.seed, story.cliff.step, story.rescue.text) == (RUN, 1, 0, "so it is")
    assert (story.later.step, story.success.text, story.tries) == (40, "at last", 3)


def test_a_story_without_success_says_so_and_one_without_rescue_is_none(store):
    story = find_story(store(CLIFF + LATER[:3]))
    assert story.success is None and story.tries == 2
    assert find_story(store(CLIFF[:3])) is None  # no try of the teacher was right
    assert find_story(store(LATER)) is None


def test_a_solved_story_comes_before_an_earlier_unsolved_one(store):
    other = [line | {"problem": "p0"} for line in CLIFF]
    assert find_story(store(other + CLIFF + LATER)).cliff.problem == "p1"


def test_the_report_page_tells_the_story_escaped(store, make_study):
    study = make_study()
    before = write_page(study).read_text()
    assert 'id="story"' not in before and "One cliff" not in before
    store(CLIFF + LATER, study)
    text = write_page(study).read_text()
    page = Page(text)
    assert 'id="story"' in text and "at last" in page.text and "the hint" in page.text and "wrong one" in page.text
    assert "first solved the problem by itself at step 40, after 3 further tries" in page.text
    assert "<script>alert" not in text and "\x1b" not in text


def test_show_loads_neither_torch_nor_pandas(store):
    """What it may take a second for: the study, pyarrow and the file."""
    store(CLIFF)
    code = (
        "import sys; from hdpo.cli import main;"
        f"main(['show', 'study.yaml', '--run', '{RUN}', '--seed', '1', *sys.argv[1:]]);"
        "sys.exit(bool({'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    assert subprocess.run([sys.executable, "-c", code, "--html", "a.html"], capture_output=True).returncode == 0


def test_what_training_writes_can_be_shown(trained_base, make_study, capsys):
    from hdpo.run.train import train_run

    study = make_study(model__path=str(trained_base), train__steps=4, samples=1)
    run = study.run(RUN, 1)
    train_run(run)
    capsys.readouterr()
    text = shown(capsys, "--step", "0")
    samples = read(run.folder / "samples.parquet")
    assert any(sample.teacher for sample in samples) and all(sample.student for sample in samples)
    for sample in [sample for sample in samples if sample.step == 0]:
        assert f"problem {sample.problem}, " in text
        assert all(response.text in text for response in (*sample.student, *sample.teacher))
    assert find_story(study) is not None
