"""The PDF report: what its data say, what it refuses, and that equal results give equal bytes."""

import inspect
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from hdpo.claims.reported import PAPER
from hdpo.report.captions import FIGURES
from hdpo.report.content import report_data
from hdpo.report.origins import parameter_count
from hdpo.report.pdf import write_pdf
from hdpo.study.study import load_study
from hdpo.system.errors import UserError
from hdpo.theory.checks import draw_figures
from helpers.reported_study import write_lead, write_record, write_story, write_theory_table
from helpers.studies import ROOT
from helpers.synthetic import make_study

pytest.importorskip("typst")


@pytest.fixture
def study(reported_folder, enter_copy):
    return enter_copy(reported_folder)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """The same study before anything was run."""
    monkeypatch.chdir(tmp_path)
    return make_study(tmp_path)


def pages_of(pdf: Path) -> list[str]:
    """The text of each page on one line; the test is skipped where poppler is not installed."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    done = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True)
    return [" ".join(page.split()) for page in done.stdout.split("\f")]


def text_of(pdf: Path) -> str:
    return " ".join(pages_of(pdf))


# The document.


def test_equal_results_give_equal_bytes_in_seconds(study):
    first, data = write_pdf(study).read_bytes(), (study.root / "report.json").read_bytes()
    before = time.perf_counter()
    assert write_pdf(study).read_bytes() == first and first.startswith(b"%PDF")
    assert time.perf_counter() - before < 5
    assert (study.root / "report.json").read_bytes() == data
    assert b"/CreationDate" not in first and str(Path.cwd()).encode() not in first


def test_the_text_holds_what_the_results_say(study):
    text = text_of(write_pdf(study))
    data = json.loads((study.root / "report.json").read_text())
    for part in ("Scope of reproducibility", "What was easy", "What was difficult", "Statement of limitations"):
        assert part in text
    for kind, counts in (data["counts"] | data["counts_beyond"]).items():
        assert re.search(rf"{kind}, {sum(counts.values())}: \d", text)
        assert all(re.search(rf"\b{number} {verdict}\b", text) for verdict, number in counts.items())
    assert "21 training runs took 22 minutes of wall time in sum, one process each, on Some CPU" in text  # 1302 s
    assert re.search(r"Of \d+ means of the committed run, \d+ are “identical” in this one \(Appendix I\)", text)
    assert "10 parameters in all" in text and "Some CPU" in text and "A caption with `code`" in text


def test_it_leads_with_the_answer_and_its_body_fits_eight_pages(study):
    answer = json.loads((study.root / "check.json").read_text())["answer"]
    pages = pages_of(write_pdf(study))
    assert answer in pages[0] and "Effects, " in pages[0] and "Appendix" not in pages[0]
    assert "Both regimes told" not in " ".join(pages) and "One cliff’s story" not in " ".join(pages)
    write_lead(study, "Both regimes told.")
    write_story(study)
    pages = pages_of(write_pdf(study))
    assert "Both regimes told." in pages[0] and "Is it so?" in " ".join(pages[:2])
    assert "One cliff’s story" in " ".join(pages[:3]) and "2+2=5" in " ".join(pages[:3])
    appendix = next(place for place, page in enumerate(pages) if page.startswith("Appendix"))
    assert appendix <= 8 and "References" in pages[appendix - 1]


def test_a_finding_of_another_configuration_is_not_shown(study):
    write_lead(study, "Both regimes told.", identity="other")
    assert report_data(study)["finding"] is None
    (Path("results/finding") / "lead.json").write_text("{}")
    with pytest.raises(UserError, match=r"lead\.json: not a finding"):
        report_data(study)


def test_runs_of_several_processes_say_so(study):
    for run in study.runs:
        for seed in study.seeds:
            write_record(study, run, seed, gpu="Some GPU", processes=8)
    assert "in sum, 8 processes each, on Some CPU, with Some GPU." in text_of(write_pdf(study))


def test_nothing_run_is_a_report_that_says_so(empty):
    text = text_of(write_pdf(empty))
    data = json.loads((empty.root / "report.json").read_text())
    assert all(set(counts) == {"not run"} for counts in (data["counts"] | data["counts_beyond"]).values())
    assert data["theory"] is data["audit"] is data["tables"]["headline"] is None
    assert not any(figure["there"] for figure in data["figures"])
    assert "0 training runs of 21 planned" in text and text.count("not run") > 40
    assert not re.search(r"\d reproduced\b", text)


def test_one_seed_and_a_study_of_the_papers_scale_can_be_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = text_of(write_pdf(load_study(ROOT / "config" / "paper.yaml")))
    assert "OpenMathInstruct-2" in text and "gives no estimate of run-to-run variance" in text
    assert "small world" not in text


def test_data_are_never_evaluated_as_markup(study):
    hostile = '#panic("x") $x^2$ *b* _i_ @tab-cost <script> \\ `raw` ['
    for run in study.runs:
        for seed in study.seeds:
            write_record(study, run, seed, cpu=hostile)
    write_theory_table(study, statement=f"Lemma 1 {hostile}")
    text = text_of(write_pdf(study))
    assert '#panic("x") $x^2$ *b* _i_ @tab-cost <script>' in text.replace("“", '"').replace("”", '"')


def typed_numbers(source: str) -> list[str]:
    """Lines of Typst text with a digit that is neither code, length, formula, file name nor part of a name."""
    source = re.sub(r"//.*|\"[^\"\n]*\"|\$[^$]*\$", "", source)
    source = re.sub(r"Proposition 1|SHA-256|OpenMathInstruct-2|pass\\@1", "", source)
    source = re.sub(r"(slice|chunks|update|heading)\([^()]*\)|\d+(\.\d+)?(pt|cm|em|fr|%)", "", source)
    source = re.sub(r"(==|<|>|-|\+|\*) \d+", "", source)
    lines = [line.strip() for line in source.splitlines() if re.search(r"\d", line)]
    return [line for line in lines if not re.search(r"sha256|\.slice\(", line)]


def test_no_number_is_typed_in_its_text():
    parts = ("report", "answer", "method", "results", "discussion", "appendix")
    source = "\n".join((PAPER / f"{name}.typ").read_text() for name in parts)
    assert typed_numbers(source) == []
    for typed in ("We used 3 seeds.", "It gains 1.2 points.", "In 95 % of cases."):
        assert typed_numbers(source + "\n" + typed) == [typed]


def test_every_planned_figure_is_one_that_the_kit_draws(study):
    drawn = {f"figures/{path.stem}" for path in (study.root / "figures").glob("*.png")}
    drawn |= {f"theory/{stem}" for stem in re.findall(r'"(theory-[\w-]+)"', inspect.getsource(draw_figures))}
    assert drawn == {stem for stem in FIGURES if not stem.startswith("audit/")}


def test_departures_from_the_plan_are_listed_where_there_are_any(study):
    assert "departs from its plan" not in text_of(write_pdf(study))
    check = json.loads((study.root / "check.json").read_text())
    (study.root / "check.json").write_text(json.dumps(check | {"departures": ["A run is missing.", "So is a seed."]}))
    text = text_of(write_pdf(study))
    assert "The study departs from its plan in 2 ways" in text and "• A run is missing. • So is a seed." in text


# What it refuses, by name.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_hash": "other"}, r"grpo/seed1/run\.json: its (run_hash|configuration hash) is other"),
        ({"seed": 9}, r"grpo/seed1/run\.json: its seed is 9"),
    ],
)
def test_a_record_of_another_run_is_refused(study, changes, message):
    write_record(study, "grpo", 1, **changes)
    with pytest.raises(UserError, match=message):
        write_pdf(study)
    assert not (study.root / "report.pdf").exists()


def test_results_of_another_configuration_or_other_claims_are_refused(study, tmp_path, monkeypatch):
    config = yaml.safe_load(Path("study.yaml").read_text())
    config["evaluate"]["test_samples"] = 8
    Path("other.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"summary\.csv: holds base with another configuration"):
        report_data(load_study("other.yaml"))
    claims = tmp_path / "claims.yaml"
    claims.write_text((PAPER / "claims.yaml").read_text().replace("pass@4 improves,", "pass@4 soars,"))
    monkeypatch.setattr("hdpo.claims.claims.CLAIMS", claims)
    with pytest.raises(UserError, match=r"check\.json: was written for other claims"):
        report_data(study)
    (study.root / "check.json").write_text("[]")
    with pytest.raises(UserError, match=r"check\.json: not a check"):
        report_data(study)


def test_damaged_files_are_named(study):
    (study.root / "theory" / "theory.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"theory\.csv: not a theory table"):
        report_data(study)
    weights = Path(study.base_path) / "model.safetensors"
    weights.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match="not a safetensors file"):
        parameter_count(Path("study.yaml"))


def test_a_missing_or_faulty_source_is_one_line(study, tmp_path, monkeypatch):
    monkeypatch.setattr("hdpo.report.pdf.PAPER", tmp_path)
    (tmp_path / "report.typ").write_text("#nothing-of-that-name")
    with pytest.raises(UserError, match=r"report\.typ: unknown variable"):
        write_pdf(study)
    (tmp_path / "report.typ").unlink()
    with pytest.raises(UserError, match=r"report\.typ: no such file"):
        write_pdf(study)
